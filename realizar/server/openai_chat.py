"""POST /v1/chat/completions: OpenAI's chat completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import Body, Samplers, sampling
from realizar.server.messages import chat_prompt, openai_finish, response_constraint
from realizar.server.openai_shapes import FINGERPRINT, chat_logprobs, new_id, tool_call_delta, tool_calls, usage
from realizar.server.service import Serving
from realizar.server.sse import JSON, events
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.engine.output import Completion
    from realizar.params import SamplingParams
    from realizar.server.answers import Answers, Piece

router = APIRouter(route_class=StrictRoute)
MAX_TOP = 20
"""Most probable tokens that a client may ask for, as OpenAI allows."""


class StreamOptions(Body):
    """What a stream has besides its deltas."""

    include_usage: bool = False


class ChatRequest(Samplers):  # type: ignore[misc, valid-type]
    """The body of POST /v1/chat/completions; the samplers of SamplingParams are fields, too."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: int | None = None
    best_of: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    id_slot: int = -1
    add_generation_prompt: bool | None = None


@router.post("/chat/completions", response_model=None, include_in_schema=False)
@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, service: Serving) -> Response:
    """Answer a conversation."""
    llm, served = await service.llm(body.model)
    params = _params(body, service)
    prompt = await service.in_thread(
        chat_prompt, llm, body.messages, params, tools=body.tools, tool_choice=body.tool_choice or "auto",
        parallel=body.parallel_tool_calls is not False, variables=body.chat_template_kwargs,
        effort=body.reasoning_effort, continues=body.continue_final_message, begins=body.add_generation_prompt,
    )  # fmt: skip
    answers = await service.submitted(llm, served, [prompt], id_slot=body.id_slot)
    chat = _Chat(llm, served.name, answers, prompt.params, body.stream_options or StreamOptions())
    if body.stream:
        return events(chat.chunks(), lambda error: (None, error.openai))
    return JSON(await service.unless_gone(chat.completion()))


def _params(body: ChatRequest, service: Serving) -> SamplingParams:
    own = response_constraint(body.response_format)
    if body.tools and any(not _is_strict(tool) for tool in body.tools):
        own.setdefault("lenient", True)
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs: logprobs must be true", "invalid_value", "top_logprobs")
    if body.lenient is not None:
        own["lenient"] = body.lenient
    params = sampling(
        body, service.settings, max_tokens=body.max_completion_tokens or body.max_tokens, n=body.n,
        best_of=body.best_of, logprobs=(body.top_logprobs or 0) if body.logprobs else None, **own,
    )  # fmt: skip
    if body.stream and params.is_ranked:
        raise ApiError(400, "stream: completions that are ranked (best_of, n_beams) come at the end", "invalid_value")
    return params


def _is_strict(tool: dict[str, Any]) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and function.get("strict") is True


class _Chat:
    """The response to one request, whole or in chunks."""

    def __init__(
        self, llm: AsyncLLM, name: str, answers: Answers, params: SamplingParams, options: StreamOptions
    ) -> None:
        self._tokenizer = llm.tokenizer
        self._answers = answers
        self._params = params
        self._has_usage = options.include_usage
        self._head = {
            "id": new_id("chatcmpl-"), "created": int(time.time()), "model": name, "system_fingerprint": FINGERPRINT
        }  # fmt: skip

    async def completion(self) -> dict[str, Any]:
        """Return the whole response."""
        replies = await self._answers.replies()
        choices = [self._choice(i, reply) for i, reply in enumerate(replies)]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage(self._answers.usage)}

    def _choice(self, i: int, reply: Completion) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = tool_calls(reply.tool_calls)
        else:
            message["content"] = reply.text
        logprobs = None
        if reply.logprobs is not None:
            n = reply.n_reasoning
            logprobs = chat_logprobs(self._tokenizer, reply.logprobs[n:], reply.logprobs[:n])
        finish = openai_finish(reply.finish_reason)
        return {
            "index": i, "message": message, "logprobs": logprobs, "finish_reason": finish,
            "stop_reason": reply.stop_reason,
        }  # fmt: skip

    async def chunks(self) -> AsyncIterator[tuple[None, Any]]:
        """Yield the chunks of a stream."""
        for i in range(self._params.n):
            yield None, self._chunk(i, {"role": "assistant", "content": ""})
        async for piece in self._answers.pieces():
            for chunk in self._chunks_of(piece):
                yield None, chunk
        for i, (reason, stop) in enumerate(self._answers.finish_reasons()):
            yield None, self._chunk(i, {}, finish_reason=openai_finish(reason), stop_reason=stop)
        if self._has_usage:
            yield None, {**self._chunk_head, "choices": [], "usage": usage(self._answers.usage)}
        yield None, "[DONE]"

    def _chunks_of(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a piece; each has one delta of a call, as OpenAI's: some clients read only the first."""
        deltas: list[dict[str, Any]] = []
        texts = {"reasoning_content": piece.reasoning, "content": piece.text}
        if any(texts.values()):
            deltas.append({name: text for name, text in texts.items() if text})
        deltas += [{"tool_calls": [tool_call_delta(call)]} for call in piece.calls]
        logprobs = None
        if piece.logprobs:
            content, thought = ([], piece.logprobs) if piece.is_reasoning else (piece.logprobs, [])
            logprobs = chat_logprobs(self._tokenizer, content, thought)
        if logprobs and not deltas:
            deltas.append({})
        for delta in deltas:
            yield self._chunk(piece.number, delta, logprobs=logprobs)
            logprobs = None

    @property
    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}

    def _chunk(self, i: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": i, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        chunk = {**self._chunk_head, "choices": [choice]}
        return {**chunk, "usage": None} if self._has_usage else chunk
