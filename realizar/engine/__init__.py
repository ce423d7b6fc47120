"""Requests to tokens: the cache that sequences live in, the scheduler, and the loop that steps a model.

Read in this order: ``block_pool`` (which block is whose), ``snapshots`` (which states are kept), ``kv_cache`` (the
memory), ``sequence`` (one history over blocks), ``guidance`` (a second one beside it), ``request`` (what was asked),
``answer`` (a text that is written), ``writing`` with ``generation`` and ``beams``, ``scoring`` and ``likelihood`` (the
kinds of requests), ``completion`` (what came out), ``intake`` (from what is asked to requests), ``scheduler`` (who
computes how much in a step), ``runner`` (a step's arrays), ``engine`` (the step itself), ``stream`` (pieces of a text
as they come); ``speculation`` (what is computed on suspicion).
"""
