"""Requests to tokens: the cache that sequences live in, the scheduler, and the loop that steps a model.

Read in this order: ``block_pool`` (which sequences hold a block), ``snapshots`` (which states are kept), ``kv_cache``
(the memory), ``sequence`` (one history over blocks), ``guidance`` (a second one beside it), ``request`` (what was
asked), ``output`` (its events and its completion), ``generation``, ``beams`` and ``scoring`` (the kinds of requests),
``intake`` (from what is asked to requests), ``preemption`` and ``scheduler`` (who computes how much in a step),
``runner`` (a step's arrays), ``engine`` (the step itself), ``loop`` (the thread that steps), ``handle`` (how a request
is followed), ``stats``; ``speculation`` (speculative decoding).
"""
