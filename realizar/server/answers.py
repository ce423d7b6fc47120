"""Answers: submitted prompts, and the pieces of text that the engine makes of them, as every protocol needs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realizar.engine.output import (
    ErrorEvent,
    FinishEvent,
    ReasoningEvent,
    TextEvent,
    TokensEvent,
    ToolCallEvent,
)
from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from realizar.async_llm import AsyncHandle, AsyncLLM
    from realizar.calls import ChatPrompt, ToolCallDelta
    from realizar.engine.output import Completion
    from realizar.engine.request import TextRequest
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.params import SamplingParams
    from realizar.server.metrics import Metrics

_UNREAD = 16
"""Pieces that wait for a slow reader; then its events stay in the engine, which pauses the request."""


@dataclass
class Piece:
    """New output of one completion: reasoning, text or tool calls, with the logprobs of its tokens."""

    number: int
    reasoning: str = ""
    text: str = ""
    calls: list[ToolCallDelta] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    is_reasoning: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens of prompts, those of them found in the cache, and tokens generated; of these, those of reasoning."""

    n_prompt: int
    n_cached: int
    n_generated: int
    n_reasoning: int


class Answers:
    """The completions of one or several prompts, submitted to a model.

    Completions are numbered: those of the first prompt, then those of the second, and so on.

    Parameters
    ----------
    llm : AsyncLLM
    name : str
        The model's name, for metrics.
    prompts : sequence of ChatPrompt
        With tokens, params and tools; all have the same params but for grammars.
    metrics : Metrics

    Attributes
    ----------
    id_slot : int
        The slot under which they are listed; -1 for none.
    """

    def __init__(self, llm: AsyncLLM, name: str, prompts: Sequence[ChatPrompt], metrics: Metrics) -> None:
        self._llm = llm
        self._name = name
        self.id_slot = -1
        self._metrics = metrics
        self._prompts = prompts
        self._handles: list[AsyncHandle] = []
        self._begin = time.perf_counter()
        self._completions: list[Completion | None] = [None] * len(prompts)
        self._t_first: list[float] = [0.0] * len(prompts)

    async def submit(self) -> None:
        """Submit all prompts or none; raises their errors."""
        try:
            for prompt in self._prompts:
                handle = self._llm.events(prompt)
                self._handles.append(handle)
                await handle.submit()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Give up what is not done."""
        handles, self._handles = self._handles, []
        for handle, completion in zip(handles, self._completions, strict=False):
            handle.cancel()
            if completion is None:
                self._metrics.aborted(self._name)

    @property
    def requests(self) -> list[TextRequest]:
        """The requests that are submitted, until they are given up."""
        return [handle.request for handle in self._handles if handle.request is not None]

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield the output of the completions until all have ended.

        Raises
        ------
        ApiError
            503 if the time was over before the first token.
        RealizarError
            If a request fails.
        """
        if len(self._handles) == 1:
            async for piece in self._pieces_of(0):
                yield piece
            return
        queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue(_UNREAD)
        tasks = [asyncio.create_task(self._put(i, queue)) for i in range(len(self._handles))]
        try:
            n_left = len(tasks)
            while n_left:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    n_left -= 1
                else:
                    yield item
        finally:
            for task in tasks:
                task.cancel()

    async def _put(self, i: int, queue: asyncio.Queue[Piece | BaseException | None]) -> None:
        try:
            async for piece in self._pieces_of(i):
                await queue.put(piece)
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    async def _pieces_of(self, i: int) -> AsyncIterator[Piece]:
        """Yield the pieces of one prompt."""
        first = i * self._prompts[i].params.n
        unshown = _Unshown()
        async for event in self._handles[i]:
            if isinstance(event, ErrorEvent):
                raise event.error
            if isinstance(event, TokensEvent):
                self._t_first[i] = self._t_first[i] or time.perf_counter()
            if isinstance(event, FinishEvent):
                self._finish(i, event.completion)
                for number in range(self._prompts[i].params.n):
                    yield Piece(first + number, logprobs=unshown.take(number))
            elif self._prompts[i].params.is_ranked:
                continue  # which completions are kept is known at the end
            elif isinstance(event, TokensEvent):
                unshown.add(event)
            elif isinstance(event, ReasoningEvent):
                logprobs = unshown.take_reasoning(event)
                yield Piece(first + event.number, event.text, logprobs=logprobs, is_reasoning=True)
            elif isinstance(event, TextEvent):
                yield Piece(first + event.number, text=event.text, logprobs=unshown.take(event.number))
            elif isinstance(event, ToolCallEvent) and event.deltas:
                yield Piece(first + event.number, calls=event.deltas, logprobs=unshown.take(event.number))

    def _finish(self, i: int, completion: Completion | None) -> None:
        if completion is None:
            raise ApiError(500, "the server failed; its log says why", "internal_error")
        self._completions[i] = completion
        self._metrics.finished(self._name, completion, self._begin, self._t_first[i])
        if completion.finish_reason == "time" and not any(c.token_ids for c in completion.outputs):
            seconds = time.perf_counter() - self._begin
            raise ApiError(503, f"the request's time was over after {seconds:.1f} s, before its first token", "timeout")

    async def replies(self) -> list[Completion]:
        """Wait for all completions, and return them by number. Raises as `pieces`."""
        async for _ in self.pieces():
            pass
        return self._by_number()

    @property
    def completions(self) -> list[Completion]:
        """The completions of each prompt, once all have ended."""
        return [completion for completion in self._completions if completion is not None]

    @property
    def params(self) -> SamplingParams:
        """The params of the first prompt."""
        return self._prompts[0].params

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the submission to the first token of any prompt; None before."""
        first = [t for t in self._t_first if t]
        return min(first) - self._begin if first else None

    @property
    def queue_s(self) -> float | None:
        """Seconds that the first prompt waited to be computed; None before its end."""
        completion, t_first = self._completions[0], self._t_first[0]
        if completion is None or not t_first:
            return None
        return max(0.0, t_first - self._begin - completion.timings.prefill_s)

    def finish_reasons(self) -> list[tuple[str, int | str | None]]:
        """Why each completion ended: finish_reason and stop_reason, by number."""
        return [(completion.finish_reason, completion.stop_reason) for completion in self._by_number()]

    def _by_number(self) -> list[Completion]:
        return [completion for found in self.completions for completion in found.outputs]

    @property
    def usage(self) -> Usage:
        """Tokens of all prompts and completions."""
        prompts, completions = self.completions, self._by_number()
        return Usage(
            sum(completion.timings.n_prompt for completion in prompts),
            sum(completion.timings.n_cached for completion in prompts),
            sum(len(completion.token_ids) for completion in completions),
            sum(completion.n_reasoning for completion in completions),
        )


class _Unshown:
    """The logprobs of tokens that are not part of a piece yet, by the number of their completion."""

    def __init__(self) -> None:
        self._logprobs: dict[int, list[TokenLogprobs]] = {}
        self._n_reasoning: dict[int, int] = {}

    def add(self, event: TokensEvent) -> None:
        """Add new tokens."""
        if event.logprobs:
            self._logprobs.setdefault(event.number, []).extend(event.logprobs)

    def take(self, number: int) -> list[TokenLogprobs]:
        """Remove and return those of a completion."""
        return self._logprobs.pop(number, [])

    def take_reasoning(self, event: ReasoningEvent) -> list[TokenLogprobs]:
        """Remove and return those of its reasoning."""
        known = self._logprobs.get(event.number, [])
        n = event.n_tokens - self._n_reasoning.get(event.number, 0)
        self._n_reasoning[event.number] = event.n_tokens
        taken, known[:n] = known[:n], []
        return taken
