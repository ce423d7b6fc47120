"""POST /v1/completions: OpenAI's completions: texts and token ids, echo with logprobs, fill-in-the-middle."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import Samplers, sampling
from realizar.server.messages import openai_finish, response_constraint
from realizar.server.openai_chat import MAX_TOP, StreamOptions
from realizar.server.openai_shapes import FINGERPRINT, completion_logprobs, new_id, usage
from realizar.server.service import Serving, plain_prompt, text_ids
from realizar.server.sse import JSON, events
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.engine.output import Completion
    from realizar.params import SamplingParams
    from realizar.server.answers import Answers, Piece

router = APIRouter(route_class=StrictRoute)
DEFAULT_MAX_TOKENS = 16
"""Tokens of a completion where the client does not say how many, as in OpenAI's API."""


class CompletionRequest(Samplers):  # type: ignore[misc, valid-type]
    """The body of POST /v1/completions; the samplers of SamplingParams are fields, too."""

    prompt: str | list[int] | list[str] | list[list[int]] = Field(min_length=1)
    model: str | None = None
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=DEFAULT_MAX_TOKENS, ge=0)
    n: int | None = None
    best_of: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP)
    echo: bool | None = None
    response_format: dict[str, Any] | None = None
    id_slot: int = -1

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        several: Any = self.prompt
        return [several] if isinstance(several[0], int) else several


@router.post("/v1/completions", response_model=None)
async def completions(body: CompletionRequest, service: Serving) -> Response:
    """Continue prompts."""
    llm, served = await service.llm(body.model)
    prompts = body.prompts
    service.need_room_for(len(prompts), "prompt")
    params = _params(body, service)
    ids = await service.in_thread(lambda: [_ids(llm, prompt, body) for prompt in prompts])
    prompted = [plain_prompt(each, params) for each in ids]
    answers = await service.submitted(llm, served, prompted, id_slot=body.id_slot)
    made = _Completions(llm, served.name, answers, params, body, ids)
    if body.stream:
        return events(made.chunks(), lambda error: (None, error.openai))
    return JSON(await service.unless_gone(made.completion()))


def _params(body: CompletionRequest, service: Serving) -> SamplingParams:
    own = response_constraint(body.response_format)
    scores_prompt = body.echo and body.logprobs is not None
    # A token is generated even if none is asked for: it costs nothing next to the prompt.
    max_tokens = 1 if body.max_tokens == 0 else body.max_tokens
    if scores_prompt:
        own["prompt_logprobs"] = body.logprobs
    params = sampling(
        body, service.settings, max_tokens=max_tokens, n=body.n, best_of=body.best_of, logprobs=body.logprobs,
        echo=bool(body.echo), **own,
    )  # fmt: skip
    if body.stream and (params.is_ranked or scores_prompt):
        raise ApiError(400, "stream: not with best_of, n_beams, or echo and logprobs", "invalid_value", "stream")
    return params


def _ids(llm: AsyncLLM, prompt: str | list[int], body: CompletionRequest) -> list[int]:
    """Return the tokens of a prompt."""
    if body.suffix:
        if not isinstance(prompt, str):
            raise ApiError(400, "suffix: the prompt must be text", "invalid_value", "suffix")
        return llm.tokenizer.infill(prompt, body.suffix)
    return text_ids(llm, prompt) if isinstance(prompt, str) else prompt


class _Completions:
    """The response to one request, whole or in chunks."""

    def __init__(
        self, llm: AsyncLLM, name: str, answers: Answers, params: SamplingParams, body: CompletionRequest,
        ids: list[list[int]],
    ) -> None:  # fmt: skip
        self._tokenizer = llm.tokenizer
        self._answers = answers
        self._params = params
        self._body = body
        self._ids = ids
        self._is_empty = body.max_tokens == 0
        self._has_usage = body.stream_options is not None and body.stream_options.include_usage
        self._head = {
            "id": new_id("cmpl-"), "object": "text_completion", "created": int(time.time()), "model": name,
            "system_fingerprint": FINGERPRINT,
        }  # fmt: skip
        self._n_shown: dict[int, int] = {}

    async def completion(self) -> dict[str, Any]:
        """Return the whole response."""
        replies = await self._answers.replies()
        choices = [self._choice(i, reply) for i, reply in enumerate(replies)]
        return {**self._head, "choices": choices, "usage": usage(self._answers.usage)}

    def _choice(self, i: int, reply: Completion) -> dict[str, Any]:
        ids = self._ids[i // self._params.n]
        text = reply.text
        if self._is_empty:
            text = self._tokenizer.decode(ids) if self._params.echo else ""
        logprobs = None
        if self._params.logprobs is not None:
            before = self._answers.completions[i // self._params.n].prompt_logprobs if self._params.echo else None
            sampled = [*(before or ()), *([] if self._is_empty else reply.logprobs or ())]
            logprobs = completion_logprobs(self._tokenizer, sampled, ids[:1], 0)
        finish = "length" if self._is_empty else openai_finish(reply.finish_reason)
        return {
            "index": i, "text": text, "logprobs": logprobs, "finish_reason": finish, "stop_reason": reply.stop_reason
        }  # fmt: skip

    async def chunks(self) -> AsyncIterator[tuple[None, Any]]:
        """Yield the chunks of a stream."""
        async for piece in self._answers.pieces():
            if (piece.text or piece.logprobs) and not self._is_empty:
                yield None, self._chunk(piece)
        for i, (reason, stop) in enumerate(self._answers.finish_reasons()):
            choice = {"index": i, "text": "", "logprobs": None}
            finish = "length" if self._is_empty else openai_finish(reason)
            yield None, self._with_usage([{**choice, "finish_reason": finish, "stop_reason": stop}])
        if self._has_usage:
            yield None, {**self._head, "choices": [], "usage": usage(self._answers.usage)}
        yield None, "[DONE]"

    def _chunk(self, piece: Piece) -> dict[str, Any]:
        at = self._n_shown.get(piece.number, 0)
        self._n_shown[piece.number] = at + len(piece.text)
        logprobs = completion_logprobs(self._tokenizer, piece.logprobs, (), at) if piece.logprobs else None
        return self._with_usage(
            [{"index": piece.number, "text": piece.text, "logprobs": logprobs, "finish_reason": None}]
        )

    def _with_usage(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {**self._head, "choices": choices}
        return {**chunk, "usage": None} if self._has_usage else chunk
