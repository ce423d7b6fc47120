"""Benchmark workload of an engine: time to first token of prompts, and decode steps of a batch."""

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
"""New prompt tokens before the measured decode steps."""


class Workload:
    """Requests of random tokens, each after `depth` tokens that stay in the prefix cache.

    Parameters
    ----------
    engine : Engine
        Used exclusively, with `n_seqs` >= `batch` and `n_ctx` >= `Workload.n_ctx`.
    depth : int
        Tokens of each sequence in the prefix cache before timing starts; a multiple of 16, the block size.
    batch : int
        Sequences decoded together, each with different tokens.
    seed : int
        Seed of the random tokens.
    clock : callable
        Returns seconds, of wall time or process time.
    """

    def __init__(
        self, engine: Engine, depth: int, batch: int, seed: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._engine, self._depth, self._clock = engine, depth, clock
        self._rng = np.random.default_rng(seed)
        self._prefixes = [self._tokens(depth) for _ in range(batch)]

    @staticmethod
    def n_ctx(depth: int, batch: int, n_prompt: int, n_steps: int) -> int:
        """Return the tokens of the longest sequence of a workload."""
        return depth + max(n_prompt, DECODE_PROMPT + _n_generated(n_steps, batch)) + 1

    def prompt_seconds(self, n_prompt: int) -> float:
        """Return the time to first token of a prompt of new tokens after the first sequence's `depth` tokens."""
        self._fill(self._prefixes[:1])
        prompt = self._prefixes[0] + self._tokens(n_prompt)
        begin = self._clock()
        request = self._request(prompt, 1)
        self._engine.wait(lambda: request.is_over)
        seconds = self._clock() - begin
        self._check(request)
        return seconds

    def step_seconds(self, n: int) -> list[float]:
        """Return the seconds of each of n steps in which every sequence gets a token."""
        self._fill(self._prefixes)
        max_tokens = _n_generated(n, len(self._prefixes))
        requests = [self._request(begin + self._tokens(DECODE_PROMPT), max_tokens) for begin in self._prefixes]
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
                    f"{n} steps generated {len(request.answers[0].token_ids) - count} tokens of a sequence"
                )
            self._check(request)
            request.cancel()
        return seconds

    def _fill(self, begins: list[list[int]]) -> None:
        """Compute the prefixes; those in the prefix cache cost one block each."""
        if self._depth:
            requests = [self._request([*begin, 0], 1) for begin in begins]
            self._engine.wait(lambda: all(request.is_over for request in requests))

    def _check(self, request: Generation) -> None:
        n_cached = request.completion().timings.n_cached
        if n_cached != self._depth:
            raise RealizarError(
                f"{n_cached} tokens of a prompt were in the prefix cache instead of {self._depth}; "
                "depth must be a multiple of 16"
            )

    def _tokens(self, n: int) -> list[int]:
        tokens: list[int] = self._rng.integers(0, self._engine.model.hp.n_vocab, n).tolist()
        return tokens

    def _request(self, prompt: list[int], n: int) -> Generation:
        return self._engine.generate(prompt, resolved(SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True)))


def _n_generated(n_steps: int, batch: int) -> int:
    """Return the tokens of a sequence: one per step, and those generated during the prefill of 512 tokens per step."""
    return n_steps + 1 + ceil(batch * DECODE_PROMPT / 512)
