"""What is timed of an engine: prompts up to their first token, and steps of sequences that decode together."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from realizar.errors import RealizarError
from realizar.params import SamplingParams, resolved

if TYPE_CHECKING:
    from realizar.engine.engine import Engine
    from realizar.engine.generation import Generation

DECODE_PROMPT = 16
"""New tokens of a prompt in front of measured decode steps."""


class Workload:
    """Requests of random tokens, each behind `depth` tokens that stay in the cache.

    Parameters
    ----------
    engine : Engine
        Used by nobody else, with `n_seqs` of `batch` and `n_ctx` of `Workload.n_ctx` at least.
    depth : int
        Tokens of each sequence that are in the cache before anything is timed; a multiple of 16, since whole blocks
        are found again.
    batch : int
        Sequences that decode together, each with tokens of its own.
    seed : int
        Equal seeds, equal tokens.
    clock : callable
        Seconds, of the wall or of the process.
    """

    def __init__(
        self, engine: Engine, depth: int, batch: int, seed: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._engine, self._depth, self._clock = engine, depth, clock
        self._rng = np.random.default_rng(seed)
        self._begins = [self._tokens(depth) for _ in range(batch)]

    @staticmethod
    def n_ctx(depth: int, batch: int, n_prompt: int, n_steps: int) -> int:
        """Tokens of the longest sequence that a workload makes."""
        return depth + max(n_prompt, DECODE_PROMPT + _n_generated(n_steps, batch)) + 1

    def prompt_seconds(self, n_prompt: int) -> float:
        """Seconds from a prompt of new tokens behind the first sequence's `depth` to its first generated token."""
        self._fill(self._begins[:1])
        prompt = self._begins[0] + self._tokens(n_prompt)
        begin = self._clock()
        request = self._request(prompt, 1)
        self._engine.wait(lambda: request.is_over)
        seconds = self._clock() - begin
        self._check(request)
        return seconds

    def step_seconds(self, n: int) -> list[float]:
        """Seconds of each of n steps in which every sequence gets a token."""
        self._fill(self._begins)
        n_most = _n_generated(n, len(self._begins))
        requests = [self._request(begin + self._tokens(DECODE_PROMPT), n_most) for begin in self._begins]
        self._engine.wait(lambda: all(request.answers[0].token_ids for request in requests))
        before = [len(request.answers[0].token_ids) for request in requests]
        seconds = []
        for _ in range(n):
            begin = self._clock()
            self._engine.step()
            seconds.append(self._clock() - begin)
        for request, count in zip(requests, before, strict=True):
            if len(request.answers[0].token_ids) != count + n:
                raise RealizarError(
                    f"{len(request.answers[0].token_ids) - count} tokens of a sequence came from {n} steps"
                )
            self._check(request)
            request.cancel()
        return seconds

    def _fill(self, begins: list[list[int]]) -> None:
        """Compute what is to be found in the cache; what is there already costs a block each."""
        if self._depth:
            requests = [self._request([*begin, 0], 1) for begin in begins]
            self._engine.wait(lambda: all(request.is_over for request in requests))

    def _check(self, request: Generation) -> None:
        n_cached = request.completion().timings.n_cached
        if n_cached != self._depth:
            raise RealizarError(
                f"{n_cached} tokens of a prompt were in the cache, {self._depth} were to be; depths are multiples of 16"
            )

    def _tokens(self, n: int) -> list[int]:
        tokens: list[int] = self._rng.integers(0, self._engine.model.hp.n_vocab, n).tolist()
        return tokens

    def _request(self, prompt: list[int], n: int) -> Generation:
        return self._engine.generate(prompt, resolved(SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True)))


def _n_generated(n_steps: int, batch: int) -> int:
    """Tokens of a sequence: those of the steps, and what it gets while the prompts are computed, 512 tokens a step."""
    return n_steps + 1 + ceil(batch * DECODE_PROMPT / 512)
