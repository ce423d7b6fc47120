"""Scheduler: who computes how many tokens in the next step."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.engine.kv_cache import KVCache
    from realizar.engine.request import Request
    from realizar.engine.sequence import Chunk


class Scheduler:
    """Shares the tokens of each step among the requests.

    There is no phase of prefill and none of decode: a request has tokens that are not computed yet, many at first
    and one from then on, and a step computes some of everybody's.

    A request is admitted when the cache has room for all it may come to need, beside all that those running may come
    to need. So none of them ever finds the cache full, and one that fits alone has its turn at last.

    Parameters
    ----------
    cache : KVCache
        Where the sequences live.

    Attributes
    ----------
    waiting : deque of Request
        In order of arrival.
    running : list of Request
        In order of admission.
    """

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self._timed: deque[Request] = deque()

    def add(self, request: Request) -> None:
        """Let a request wait for its turn. Any thread may.

        Raises
        ------
        ParameterError
            If its turn could never come: it needs more of the cache than there is.
        """
        if request.n_seqs_max > self.cache.max_seqs:
            raise ParameterError(
                f"{request.n_seqs_max} sequences at once, but the engine computes {self.cache.max_seqs}; "
                "ask for fewer, or for more n_batch (and, of a model with recurrent states, n_seqs)"
            )
        for needed, pool in zip(request.blocks_needed(), self.cache.pools, strict=True):
            if needed > pool.n_blocks:
                raise ParameterError(
                    f"{request.n_seqs_max} sequences of up to {request.n_max} tokens need {needed} cache blocks, and "
                    f"there are {pool.n_blocks}; ask for fewer or shorter ones (max_tokens), or for more n_seqs"
                )
        self.waiting.append(request)
        if request.deadline < math.inf:
            self._timed.append(request)

    def schedule(self) -> dict[Request, list[Chunk]]:
        """Return the next step's work, with room for it made in the cache.

        Those that lack one token go first, so that a text being written does not stall behind a long prompt; the
        rest of the budget goes to prompts in order of admission, the last of them in part. Sources, which an encoder
        reads as a whole, have a budget of their own.
        """
        self.expire()
        self.retire()
        self.admit()
        work: dict[Request, list[Chunk]] = {}
        budget = budget_sources = self.cache.n_batch
        for request in sorted(self.running, key=lambda r: r.is_prefilling):
            if not request.seq.source_computed:
                chunks = [request.source_chunk()]
                if chunks[0].n_tokens > budget_sources:
                    continue
                budget_sources -= chunks[0].n_tokens
            elif budget:
                chunks = self._next_chunks(request, budget)
                if not chunks:
                    continue
                budget -= sum(chunk.n_tokens for chunk in chunks)
            else:
                continue
            for chunk in chunks:
                chunk.reserve()
            work[request] = chunks
        return work

    @staticmethod
    def _next_chunks(request: Request, budget: int) -> list[Chunk]:
        """Return what to compute next of a request, which may run its own code; nothing where that fails."""
        try:
            return request.next_chunks(budget)
        except BaseException as error:
            request.fail(error)
            return []

    def expire(self) -> None:
        """End the requests, running or waiting, whose deadline has passed."""
        now = time.perf_counter()
        for _ in range(len(self._timed)):  # not iterated over: another thread may append
            request = self._timed.popleft()
            if request.is_over:
                continue
            if request.deadline <= now:
                try:
                    request.expire()
                except BaseException as error:
                    request.fail(error)
            else:
                self._timed.append(request)

    @property
    def has_over(self) -> bool:
        """Whether a request that is over still holds something."""
        return any(request.is_over for request in self.running)

    def seconds_left(self) -> float | None:
        """Seconds until the first deadline; None if there is none."""
        ends = [request.deadline for request in list(self._timed) if not request.is_over]
        return max(0.0, min(ends) - time.perf_counter()) if ends else None

    def retire(self) -> None:
        """Give back what requests that are over hold."""
        for request in self.running:
            if request.is_over:
                request.free()
        self.running = [request for request in self.running if not request.is_over]

    def admit(self) -> None:
        """Let waiting requests in, first come first served, while what all may come to need fits."""
        room = [pool.n_blocks for pool in self.cache.pools]
        n_seqs = sum(request.n_seqs_max for request in self.running)
        for request in self.running:
            room = [r - n for r, n in zip(room, request.blocks_needed(), strict=True)]
        while self.waiting:
            request = self.waiting[0]
            if not request.is_over:
                room = [r - n for r, n in zip(room, request.blocks_needed(), strict=True)]
                n_seqs += request.n_seqs_max
                if min(room, default=0) < 0 or n_seqs > self.cache.max_seqs:
                    break
                self.running.append(request)
            self.waiting.popleft()
