"""Submissions: the methods of Engine that submit requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from realizar.engine.saving import RestoreRequest
from realizar.errors import memory_for
from realizar.params import SamplingParams
from realizar.params.checks import check, is_int

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realizar.calls import Reasoning, ToolUse
    from realizar.engine.beams import Beams
    from realizar.engine.cache.kv_cache import KVCache
    from realizar.engine.cache.saved import SavedCache
    from realizar.engine.generation import Generation
    from realizar.engine.intake import Intake
    from realizar.engine.loop import EngineLoop
    from realizar.engine.request import Request
    from realizar.engine.saving import SaveRequest
    from realizar.engine.scheduler import Scheduler
    from realizar.engine.scoring import EmbeddingRequest, LogitsRequest, RankRequest, ScoreRequest
    from realizar.engine.speculation.speculator import Speculator
    from realizar.params.prompt import TokenPrompt

R = TypeVar("R", bound="Request")

NO_ADAPTERS = SamplingParams()
"""The params of requests that are not sampled and use no adapters."""


class Submissions:
    """Makes requests, and gives them to the scheduler."""

    cache: KVCache
    scheduler: Scheduler
    speculator: Speculator | None
    loop: EngineLoop
    _intake: Intake

    def generate(
        self, prompt: TokenPrompt, params: SamplingParams, tools: ToolUse | None = None, priority: int = 0,
        reasoning: Reasoning | None = None,
    ) -> Generation:  # fmt: skip
        """Submit a prompt to be continued; `wait` for it. Raises as `Intake.generation`, and `Scheduler.add`."""
        with self._submitting():
            begin = time.perf_counter()
            request = self._intake.generation(prompt, params, tools, reasoning)
            request.deadline -= time.perf_counter() - begin  # max_time counts from here
            if self.speculator is not None:
                self.speculator.attach(request)
            return self._added(request, priority)

    def beam_search(
        self, prompt: TokenPrompt, params: SamplingParams, priority: int = 0, reasoning: Reasoning | None = None
    ) -> Beams:
        """Submit a prompt for beam search with n_beams beams. Raises as `generate`."""
        with self._submitting():
            begin = time.perf_counter()
            request = self._intake.beams(prompt, params, reasoning)
            request.deadline -= time.perf_counter() - begin
            return self._added(request, priority)

    def score(self, prompt: TokenPrompt, continuation: Iterable[int], n_top: int, priority: int = 0) -> ScoreRequest:
        """Submit a prompt and a continuation to score; `wait` for it. Raises as `Intake.score` and `Scheduler.add`."""
        with self._submitting():
            return self._added(self._intake.score(prompt, continuation, n_top), priority)

    def logits(
        self, tokens: TokenPrompt, encoder_tokens: Iterable[int] | None = None, priority: int = 0,
        adapters: SamplingParams = NO_ADAPTERS,
    ) -> LogitsRequest:  # fmt: skip
        """Submit tokens whose logits are wanted, maybe with an encoder input; `wait` for it. Raises as `generate`.

        `adapters` are params, of which only the adapters are used.
        """
        with self._submitting():
            return self._added(self._intake.logits(tokens, encoder_tokens, adapters), priority)

    def embed(self, tokens: TokenPrompt, priority: int = 0) -> EmbeddingRequest:
        """Submit tokens whose hidden states are wanted; `wait` for it. Raises as `generate`."""
        with self._submitting():
            return self._added(self._intake.embedding(tokens), priority)

    def rank(self, tokens: TokenPrompt, output: str = "rank", priority: int = 0) -> RankRequest:
        """Submit tokens for the classification head; `wait` for it. Raises as `Intake.rank`."""
        with self._submitting():
            return self._added(self._intake.rank(tokens, output), priority)

    def save(self, tokens: TokenPrompt, priority: int = 0) -> SaveRequest:
        """Submit a prompt whose blocks are wanted; `wait` for it. Raises as `Intake.saving` and `Scheduler.add`."""
        with self._submitting():
            return self._added(self._intake.saving(tokens), priority)

    def restore(self, saved: SavedCache, priority: int = 0) -> RestoreRequest:
        """Submit blocks for the prefix cache; `wait` for it. Raises as `Scheduler.add`."""
        with self._submitting():
            return self._added(RestoreRequest(self.cache, saved), priority)

    def _submitting(self) -> memory_for:
        return memory_for("submitting a request", self._memory)

    def _added(self, request: R, priority: int) -> R:
        check(is_int(priority), "priority", priority, "an integer")
        request.priority = priority
        self.scheduler.add(request)
        self.loop.wake()
        return request

    def _memory(self) -> str:
        """The memory that a step needs, for an error message."""
        raise NotImplementedError
