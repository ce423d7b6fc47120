"""Answers: submitted prompts, and the pieces of text that the engine makes of them, as every protocol needs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realizar.calls.reasoning import ReasoningFormat, ReasoningSplitter
from realizar.engine.output import ErrorEvent, FinishEvent, TextEvent, TokensEvent, ToolCallEvent
from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from realizar.async_llm import AsyncHandle, AsyncLLM
    from realizar.calls import ChatPrompt, ToolCall, ToolCallDelta
    from realizar.engine.output import Completion
    from realizar.engine.request import TextRequest
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.params import SamplingParams
    from realizar.server.metrics import Metrics

_UNREAD = 16
"""Pieces that wait for a slow reader; then its events stay in the engine, which pauses the request."""
_TAIL = 16
"""Tokens at the end of a prompt in which an opened reasoning is looked for."""


@dataclass
class Piece:
    """New output of one completion: reasoning, then text, then tool calls."""

    number: int
    reasoning: str = ""
    text: str = ""
    calls: list[ToolCallDelta] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.reasoning or self.calls)


@dataclass(frozen=True)
class Reply:
    """A finished completion."""

    text: str
    reasoning: str
    tool_calls: list[ToolCall]
    logprobs: list[TokenLogprobs]
    finish_reason: str
    stop_reason: int | str | None
    n_tokens: int
    completion: Completion


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
    reads_reasoning : bool
        Whether the model's reasoning is separated from its text.

    Attributes
    ----------
    id_slot : int
        The slot under which they are listed; -1 for none.
    """

    def __init__(
        self, llm: AsyncLLM, name: str, prompts: Sequence[ChatPrompt], metrics: Metrics, reads_reasoning: bool = False
    ) -> None:
        self._llm = llm
        self._name = name
        self.id_slot = -1
        self._metrics = metrics
        self._prompts = prompts
        self._handles: list[AsyncHandle] = []
        self._begin = time.perf_counter()
        markers = _reasoning_format(llm) if reads_reasoning else None
        self._splitters = [
            ReasoningSplitter(markers, markers is not None and _is_open(llm, prompt, markers))
            for prompt in prompts
            for _ in range(prompt.params.n)
        ]
        self._completions: list[Completion | None] = [None] * len(prompts)
        self._t_first: list[float] = [0.0] * len(prompts)
        self._n_reasoning = 0

    async def submit(self) -> None:
        """Submit all prompts or none; raises their errors."""
        try:
            for prompt in self._prompts:
                handle = self._llm.events(prompt.ids, prompt.params, tools=prompt.tools)
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
        waiting: dict[int, list[TokenLogprobs]] = {}  # logprobs of tokens that are not text yet
        async for event in self._handles[i]:
            if isinstance(event, ErrorEvent):
                raise event.error
            if isinstance(event, TokensEvent):
                self._t_first[i] = self._t_first[i] or time.perf_counter()
            if isinstance(event, FinishEvent):
                completion = event.completion
                self._finish(i, completion)
                for number in range(self._prompts[i].params.n):
                    reasoning, text = self._splitters[first + number].flush()
                    yield Piece(first + number, reasoning, text, logprobs=waiting.pop(number, []))
            elif self._prompts[i].params.is_ranked:
                continue  # which completions are kept is known at the end
            elif isinstance(event, TokensEvent):
                if self._splitters[first + event.number].is_reasoning:
                    self._n_reasoning += len(event.token_ids)
                if event.logprobs:
                    waiting.setdefault(event.number, []).extend(event.logprobs)
            elif isinstance(event, TextEvent):
                reasoning, text = self._splitters[first + event.number].push(event.text)
                if reasoning or text:
                    yield Piece(first + event.number, reasoning, text, logprobs=waiting.pop(event.number, []))
            elif isinstance(event, ToolCallEvent) and event.deltas:
                logprobs = waiting.pop(event.number, [])
                yield Piece(first + event.number, calls=event.deltas, logprobs=logprobs)

    def _finish(self, i: int, completion: Completion | None) -> None:
        if completion is None:
            raise ApiError(500, "the server failed; its log says why", "internal_error")
        self._completions[i] = completion
        self._metrics.finished(self._name, completion, self._begin, self._t_first[i])
        if completion.finish_reason == "time" and not any(c.token_ids for c in completion.outputs):
            seconds = time.perf_counter() - self._begin
            raise ApiError(503, f"the request's time was over after {seconds:.1f} s, before its first token", "timeout")

    async def replies(self) -> list[Reply]:
        """Wait for all completions, and return them by number. Raises as `pieces`."""
        pieces: list[Piece] = [Piece(i) for i in range(len(self._splitters))]
        async for piece in self.pieces():
            pieces[piece.number].text += piece.text
            pieces[piece.number].reasoning += piece.reasoning
        replies = []
        for i, found in enumerate(self.completions):
            first = i * self._prompts[i].params.n
            for number, completion in enumerate(found.outputs):
                piece = pieces[first + number]
                if self._prompts[i].params.is_ranked:
                    piece.text = completion.text
                replies.append(_reply(completion, piece.text, piece.reasoning))
        return replies

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
        return [(c.finish_reason, c.stop_reason) for found in self.completions for c in found.outputs]

    @property
    def usage(self) -> Usage:
        """Tokens of all prompts and completions."""
        found = self.completions
        return Usage(
            sum(c.timings.n_prompt for c in found),
            sum(c.timings.n_cached for c in found),
            sum(len(output.token_ids) for c in found for output in c.outputs),
            self._n_reasoning,
        )


def _reply(completion: Completion, text: str, reasoning: str) -> Reply:
    return Reply(
        text, reasoning, completion.tool_calls, completion.logprobs or [], completion.finish_reason,
        completion.stop_reason, len(completion.token_ids), completion,
    )  # fmt: skip


def _reasoning_format(llm: AsyncLLM) -> ReasoningFormat | None:
    template = llm.tokenizer.chat_template
    return None if template is None else ReasoningFormat.from_template(template.source)


def _is_open(llm: AsyncLLM, prompt: ChatPrompt, markers: ReasoningFormat) -> bool:
    """Whether a completion begins within the reasoning; not if a constraint holds from its first token."""
    if _is_constrained(prompt.params, prompt.tools):
        return False
    return markers.is_open(llm.detokenize(prompt.ids[-_TAIL:], skip_special=False))


def _is_constrained(params: SamplingParams, tools: Any) -> bool:
    if tools is not None:
        return bool(tools.calls_alone)
    return any(getattr(params, name) is not None for name in ("grammar", "json_schema", "regex", "choice"))
