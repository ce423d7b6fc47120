"""Requests to tokens: the cache that sequences live in, the scheduler, and the loop that steps a model.

Read in this order: ``cache`` (blocks, sequences and the prefix cache), ``guidance`` (a second sequence beside one),
``request`` (what was asked), ``output`` (its events and its completion), ``generation``, ``beams``, ``scoring`` and
``saving`` (the kinds of requests), ``intake`` and ``prompt_checks`` (make requests of prompts and params),
``preemption`` and ``scheduler`` (who computes how much in a step), ``runner`` (a step's arrays), ``step`` (what becomes
of the outputs), ``engine`` (puts them together), ``loop`` (the thread that steps), ``handle`` (how a request is
followed), ``stats``; ``speculation`` (speculative decoding).
"""
