"""Requests to tokens: the cache that sequences live in, the scheduler, and the loop that steps a model.

Read in this order: ``block_pool`` (which block is whose), ``snapshots`` (which states are kept), ``kv_cache`` (the
memory), ``sequence`` (one history over blocks), ``request`` (what was asked), ``answer`` (a text that is written),
``generation`` and ``scoring`` (the kinds of requests), ``completion`` (what came out), ``scheduler`` (who computes how
much in a step), ``runner`` (a step's arrays), ``engine`` (the step itself), ``stream`` (pieces of a text as they come).
"""
