"""Scheduler: which requests compute how many tokens in the next step, and which wait."""

from __future__ import annotations

import math
import time
from bisect import insort
from collections import Counter, deque
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING

from realizar.engine.preemption import PreemptionCost
from realizar.errors import BusyError, CacheFullError, ParameterError

if TYPE_CHECKING:
    from realizar.engine.cache.chunk import Chunk
    from realizar.engine.cache.kv_cache import KVCache
    from realizar.engine.request import Request

MAX_PASSED = 8
"""Later requests that may be admitted before one that waits for more room than they need."""


class _Step:
    """The work of one step while it is chosen.

    Attributes
    ----------
    chunks : dict of Request to list of Chunk
    n_tokens, n_encoder_tokens : int
        Tokens of the chunks that decoders compute, and of encoder inputs.
    preempted : set of Request
        Requests that gave their blocks back for this step.
    """

    def __init__(self) -> None:
        self.chunks: dict[Request, list[Chunk]] = {}
        self.n_tokens = self.n_encoder_tokens = 0
        self.preempted: set[Request] = set()

    def add(self, request: Request, chunks: list[Chunk]) -> None:
        """Add the work of a request."""
        self.chunks[request] = chunks
        self._count(chunks, 1)

    def drop(self, request: Request) -> None:
        """Take the work of a request out, if there is some."""
        self._count(self.chunks.pop(request, []), -1)

    def _count(self, chunks: list[Chunk], sign: int) -> None:
        for chunk in chunks:
            if chunk.is_encoder_input:
                self.n_encoder_tokens += sign * chunk.n_tokens
            else:
                self.n_tokens += sign * chunk.n_tokens


class Scheduler:
    """Shares the tokens of each step, and the blocks of the cache, among the requests (continuous batching).

    There are no separate prefill and decode phases: a request has tokens that are not computed yet, many at first and
    one from then on, and a step computes some of each request's (chunked prefill).

    A request is admitted when there is room for the tokens it has, and takes more blocks as it goes on. Where none is
    left, the newest request of the lowest priority is preempted: it gives its blocks back and waits again.
    The oldest of the highest priority is never preempted, so every request that fits alone runs in the end.

    Parameters
    ----------
    cache : KVCache
        Where the sequences live.
    max_waiting : int, optional
        Requests that may wait; further ones are refused.

    Attributes
    ----------
    waiting : list of Request
        By priority, then in order of arrival; some of them were preempted.
    running : list of Request
        In the same order.
    n_preempted : int
        Number of preemptions so far.
    """

    def __init__(self, cache: KVCache, max_waiting: int | None = None) -> None:
        self.cache = cache
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.cost = PreemptionCost(cache)
        self.n_preempted = 0
        self._held_up: Request | None = None
        self._max_waiting = math.inf if max_waiting is None else max_waiting
        self._new: deque[Request] = deque()
        self._timed: deque[Request] = deque()
        self._numbers = count()
        self._n_done = (0, 0, 0)

    @property
    def n_waiting(self) -> int:
        """Number of waiting requests, without cancelled ones."""
        return sum(not request.is_over for request in [*self.waiting, *self._new])

    def counts(self) -> dict[str, int]:
        """Return the requests and tokens that `EngineStats` counts."""
        running, waiting = list(self.running), [*self.waiting, *self._new]
        tokens = self._n_done
        for request in (*running, *waiting):
            tokens = _added(tokens, request.n_tokens)
        n_prompt, n_cached, n_generated = tokens
        return {
            "n_running": len(running),
            "n_waiting": self.n_waiting,
            "n_paused": sum(request.is_paused for request in (*running, *waiting)),
            "n_preempted": self.n_preempted,
            "n_bytes_swapped": self.cost.n_bytes_kept,
            "n_prompt": n_prompt,
            "n_cached": n_cached,
            "n_generated": n_generated,
        }

    def add(self, request: Request) -> None:
        """Add a request to those that wait. Any thread may call this.

        Raises
        ------
        ParameterError
            If it could never run: it needs more of the cache than there is.
        BusyError
            If too many wait already.
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
        if len(self.waiting) + len(self._new) >= self._max_waiting <= (n_waiting := self.n_waiting):
            raise BusyError(
                f"{n_waiting} requests wait already, and max_waiting={self._max_waiting}; ask again later, or "
                "allow more of them"
            )
        request.number = next(self._numbers)
        self._new.append(request)
        if request.deadline < math.inf:
            self._timed.append(request)

    def schedule(self) -> dict[Request, list[Chunk]]:
        """Return the next step's work, with room for it made in the cache.

        Requests in decode go first, so that they do not stall while a long prompt is computed; the rest of the budget
        goes to prompts in order of admission, the last of them in part. Encoder inputs, which are
        read as a whole, have a budget of their own. A request that needs more than was left of the last step's budget
        (for a bidirectional span, say) goes first.
        """
        self.expire()
        self.retire()
        self.admit()
        step = _Step()
        first, self._held_up = self._held_up, None
        for request in sorted(self.running, key=lambda r: (r is not first, r.is_prefilling)):
            if request.is_paused or request in step.preempted:
                continue
            chunks = self._next_chunks(request, step)
            if chunks:
                step.add(request, chunks)
                self._reserve(request, step)
        return step.chunks

    def _next_chunks(self, request: Request, step: _Step) -> list[Chunk]:
        """Return what to compute next of a request, which may run its own code; nothing where that fails."""
        try:
            whole = request.encoder_chunk()
            if whole is not None:
                return [whole] if whole.n_tokens <= self.cache.n_batch - step.n_encoder_tokens else []
            budget = self.cache.n_batch - step.n_tokens
            chunks = request.next_or_recomputed(budget) if budget else []
            if budget and not chunks:
                self._held_up = self._held_up or request
            return chunks
        except BaseException as error:
            request.fail(error)
            return []

    def _reserve(self, request: Request, step: _Step) -> None:
        """Reserve blocks for a request's chunks; if there are too few, preempt others, or the request itself."""
        while request in step.chunks:
            try:
                for chunk in step.chunks[request]:
                    chunk.reserve()
                return
            except CacheFullError as error:
                if self.running == [request]:
                    request.fail(error)
                    step.drop(request)
                    return
                victim = max(self.running, key=lambda r: (r.is_paused, r.order))
                self._preempt(victim)
                step.drop(victim)
                step.preempted.add(victim)

    def _preempt(self, request: Request) -> None:
        """Return a running request to its place in the waiting queue."""
        self.n_preempted += 1
        self.running.remove(request)
        request.preempt(self.cost)
        request.n_passed = MAX_PASSED
        insort(self.waiting, request, key=attrgetter("order"))

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
        """Whether a finished request still holds blocks or slots."""
        return any(request.is_over for request in [*self.running, *self.waiting])

    def seconds_left(self) -> float | None:
        """Seconds until the first deadline; None if there is none."""
        ends = [request.deadline for request in list(self._timed) if not request.is_over]
        return max(0.0, min(ends) - time.perf_counter()) if ends else None

    def retire(self) -> None:
        """Free what finished requests hold."""
        for requests in (self.running, self.waiting):
            for request in [request for request in requests if request.is_over]:
                self._n_done = _added(self._n_done, request.n_tokens)
                request.release(self.cost)
                requests.remove(request)

    def admit(self) -> None:
        """Admit waiting requests, in their order, while the tokens they have so far fit.

        A request may pass others that do not fit, but each of those is passed at most MAX_PASSED times.
        """
        while self._new:
            insort(self.waiting, self._new.popleft(), key=attrgetter("order"))
        passed: list[Request] = []
        for request in list(self.waiting):
            if request.is_over or request.is_paused or request in self.running:
                continue
            if not self._make_room(request):
                passed.append(request)
                if request.n_passed >= MAX_PASSED:
                    break
                continue
            self.waiting.remove(request)
            insort(self.running, request, key=attrgetter("order"))
            request.resume(self.cost)
            for other in passed:
                other.n_passed += 1
            if any(other.n_passed >= MAX_PASSED for other in passed):
                break

    def _make_room(self, request: Request) -> bool:
        """Whether a request fits, if need be after paused ones and those of less priority are preempted.

        None is preempted where that is not enough.
        """
        victims: list[Request] = []
        others = [r for r in self.running if r.is_paused or r.priority < request.priority]
        others.sort(key=lambda r: (r.is_paused, r.order))
        while not self._fits(request, victims):
            if not others:
                return False
            victims.append(others.pop())
        for victim in victims:
            self._preempt(victim)
        return True

    def _fits(self, request: Request, victims: list[Request]) -> bool:
        """Whether there is room for a request beside those running, some of which would be preempted for it."""
        running = [r for r in self.running if r not in victims]
        if not running:
            return True
        if request.n_seqs_max + sum(r.n_seqs_max for r in running) > self.cache.max_seqs:
            return False
        room = [pool.n_free for pool in self.cache.pools]
        for group, pool in enumerate(self.cache.pools):
            held = Counter(block for victim in victims for block in victim.held_blocks(group))
            room[group] += sum(n == pool.ref_count(block) for block, n in held.items())
        for each in (request, *running):  # what running requests are about to allocate is not available
            room = [r - n for r, n in zip(room, each.blocks_to_come(), strict=True)]
        return min(room, default=0) >= 0


def _added(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
