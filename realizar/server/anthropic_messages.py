"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's messages, and their events in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from realizar.params import SamplingParams
from realizar.server.anthropic_shapes import (
    CountRequest,
    MessagesRequest,
    openai_choice,
    openai_messages,
    openai_tools,
)
from realizar.server.fields import sampling, unranked
from realizar.server.messages import chat_prompt, response_constraint
from realizar.server.openai_shapes import new_id
from realizar.server.service import Service, Serving
from realizar.server.sse import JSON, events
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.calls import ChatPrompt, ToolCallDelta
    from realizar.server.answers import Answers, Piece

router = APIRouter(route_class=StrictRoute)
_STOP_REASONS = {
    "tool_calls": "tool_use", "length": "max_tokens", "time": "max_tokens", "stop_string": "stop_sequence",
    "context": "model_context_window_exceeded",
}  # fmt: skip
Event = tuple[str, dict[str, Any]]


@router.post("/v1/messages", response_model=None)
async def messages(body: MessagesRequest, service: Serving) -> Response:
    """Answer a conversation."""
    llm, served = await service.llm(body.model)
    own = response_constraint(body.response_format)
    if body.tools:
        own["lenient"] = True  # schemas may have keywords that only describe
    params = unranked(sampling(body, service.settings, max_tokens=body.max_tokens, stop=body.stop_sequences, **own))
    prompt = await _prompt(llm, body, params, service)
    answers = await service.submitted(llm, served, [prompt])
    made = _Message(served.name, answers, prompt.n_tokens)
    if body.stream:
        ping = ("ping", {"type": "ping"})
        return events(made.events(), lambda error: ("error", error.anthropic), ping)
    return JSON(await service.unless_gone(made.whole()))


@router.post("/v1/messages/count_tokens", response_model=None)
async def count_tokens(body: CountRequest, service: Serving) -> Response:
    """Count the tokens of a conversation."""
    llm, _ = await service.llm(body.model)
    prompt = await _prompt(llm, body, SamplingParams(lenient=True), service)
    return JSON({"input_tokens": prompt.n_tokens})


async def _prompt(llm: AsyncLLM, body: CountRequest, params: SamplingParams, service: Service) -> ChatPrompt:
    choice, parallel = openai_choice(body.tool_choice)
    return await service.in_thread(
        chat_prompt, llm, openai_messages(body), params, tools=openai_tools(body.tools), tool_choice=choice,
        parallel=parallel, variables=body.chat_template_kwargs, effort=body.effort,
    )  # fmt: skip


class _Message:
    """The response to one request, whole or as events.

    Parameters
    ----------
    name : str
        The model's name.
    answers : Answers
    n_prompt : int
        Tokens of the prompt.
    """

    def __init__(self, name: str, answers: Answers, n_prompt: int) -> None:
        self._answers = answers
        self._n_prompt = n_prompt
        self._head = {"id": new_id("msg_"), "type": "message", "role": "assistant", "model": name}
        self._blocks = _Blocks()

    async def whole(self) -> dict[str, Any]:
        """Return the whole message."""
        (reply,) = await self._answers.replies()
        content: list[dict[str, Any]] = []
        if reply.reasoning:
            content.append({"type": "thinking", "thinking": reply.reasoning, "signature": ""})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in reply.tool_calls
        ]
        return {**self._head, "content": content, **self._stop(), "usage": self._usage()}

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events of a stream."""
        usage = {"input_tokens": self._n_prompt, "output_tokens": 0}
        start: dict[str, Any] = {
            **self._head,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        yield "message_start", {"type": "message_start", "message": start}
        yield "ping", {"type": "ping"}
        async for piece in self._answers.pieces():
            for event in self._blocks.of(piece):
                yield event
        for event in self._blocks.stop():
            yield event
        yield "message_delta", {"type": "message_delta", "delta": self._stop(), "usage": self._usage()}
        yield "message_stop", {"type": "message_stop"}

    def _stop(self) -> dict[str, Any]:
        ((reason, stop),) = self._answers.finish_reasons()
        return {
            "stop_reason": _STOP_REASONS.get(reason, "end_turn"),
            "stop_sequence": stop if reason == "stop_string" else None,
        }

    def _usage(self) -> dict[str, int]:
        usage = self._answers.usage
        return {
            "input_tokens": usage.n_prompt - usage.n_cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.n_cached,
            "output_tokens": usage.n_generated,
        }


class _Blocks:
    """The events of the blocks of a message: one block after another, each begun, continued and stopped."""

    def __init__(self) -> None:
        self._n_begun = 0
        self._open: str | int | None = None  # type of the open block, or number of its call

    def of(self, piece: Piece) -> Iterator[Event]:
        """Yield the events of a piece."""
        if piece.reasoning:
            yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": piece.reasoning})
        if piece.text:
            yield from self._begin("text", {"type": "text", "text": ""})
            yield self._delta({"type": "text_delta", "text": piece.text})
        for call in piece.calls:
            yield from self._call(call)

    def _call(self, call: ToolCallDelta) -> Iterator[Event]:
        yield from self._begin(call.number, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}})
        if call.arguments:
            yield self._delta({"type": "input_json_delta", "partial_json": call.arguments})

    def _begin(self, kind: str | int, block: dict[str, Any]) -> Iterator[Event]:
        """Begin a block, unless one of this kind is open."""
        if self._open == kind:
            return
        yield from self.stop()
        self._open = kind
        self._n_begun += 1
        start = {"type": "content_block_start", "index": self._n_begun - 1, "content_block": block}
        yield "content_block_start", start

    def _delta(self, delta: dict[str, Any]) -> Event:
        return "content_block_delta", {"type": "content_block_delta", "index": self._n_begun - 1, "delta": delta}

    def stop(self) -> Iterator[Event]:
        """End the open block, if there is one."""
        if self._open is not None:
            self._open = None
            yield "content_block_stop", {"type": "content_block_stop", "index": self._n_begun - 1}
