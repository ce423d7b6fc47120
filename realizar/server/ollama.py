"""POST /api/chat, /api/generate and /api/embed: Ollama's API, whose streams are lines of JSON."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from realizar.server.errors import ApiError
from realizar.server.messages import chat_prompt
from realizar.server.ollama_shapes import (
    ChatBody,
    EmbedBody,
    GenerateBase,
    GenerateBody,
    openai_messages,
    params_of,
    seconds,
    timestamp,
)
from realizar.server.openai_shapes import openai_finish, token_logprob
from realizar.server.pictures import with_base64
from realizar.server.service import Service, Serving, plain_prompt, text_ids
from realizar.server.sse import JSON, lines
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.calls import ChatPrompt
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.params import SamplingParams
    from realizar.server.answers import Answers
    from realizar.server.models import Served

router = APIRouter(route_class=StrictRoute)
Part = Callable[[str, str, list[Any]], dict[str, Any]]
"""Makes the fields of a response out of text, reasoning and calls."""


@router.post("/api/chat", response_model=None)
async def chat(body: ChatBody, service: Serving) -> Response:
    """Answer a conversation; without messages, load the model."""
    begin = time.perf_counter()
    llm, served = await _model(body, service)
    if not body.messages:
        return JSON(_loaded(served, _message("", "", [])))
    params = params_of(body, service.settings)
    prompt = await service.in_thread(
        chat_prompt, llm, openai_messages(body.messages), params, tools=body.tools, tool_choice="auto", parallel=True,
        variables=None, effort=body.effort,
    )  # fmt: skip
    return await _answer(body, service, (llm, served), prompt, _message, begin)


def _message(text: str, thoughts: str, calls: list[Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thoughts:
        message["thinking"] = thoughts
    if calls:
        message["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    return {"message": message}


@router.post("/api/generate", response_model=None)
async def generate(body: GenerateBody, service: Serving) -> Response:
    """Answer a prompt; without one, load the model."""
    begin = time.perf_counter()
    if body.template:
        raise ApiError(400, "template: not supported; templates are the operator's", "invalid_value", "template")
    llm, served = await _model(body, service)
    if not body.prompt and not body.suffix:
        return JSON(_loaded(served, _response("", "", [])))
    prompt = await service.in_thread(_generate_prompt, llm, body, params_of(body, service.settings))
    return await _answer(body, service, (llm, served), prompt, _response, begin)


def _response(text: str, thoughts: str, calls: list[Any]) -> dict[str, Any]:
    return {"response": text, "thinking": thoughts} if thoughts else {"response": text}


def _generate_prompt(llm: AsyncLLM, body: GenerateBody, params: SamplingParams) -> ChatPrompt:
    if body.images and (body.suffix or body.raw or llm.tokenizer.chat_template is None):
        raise ApiError(400, "images: they need a chat template, and no suffix or raw", "invalid_value", "images")
    if body.suffix:
        return plain_prompt(llm.tokenizer.infill(body.prompt, body.suffix), params)
    if body.raw or llm.tokenizer.chat_template is None:
        return plain_prompt(text_ids(llm, f"{body.system}\n\n{body.prompt}" if body.system else body.prompt), params)
    messages = [{"role": "system", "content": body.system}] if body.system else []
    messages.append({"role": "user", "content": with_base64("images", body.prompt, body.images)})
    return chat_prompt(
        llm, messages, params, tools=None, tool_choice="auto", parallel=True, variables=None, effort=body.effort
    )


async def _model(body: Any, service: Service) -> tuple[AsyncLLM, Served]:
    """Return the model that a body names, and keep it loaded as long as the body says."""
    if body.keep_alive is not None:
        keep_alive = seconds(body.keep_alive)
        llm, served = await service.llm(body.model)
        served.keep_alive_s = keep_alive
        return llm, served
    return await service.llm(body.model)


def _loaded(served: Served, part: dict[str, Any]) -> dict[str, Any]:
    reason = "unload" if served.keep_alive_s == 0 else "load"
    return {"model": served.name, "created_at": timestamp(time.time()), **part, "done": True, "done_reason": reason}


async def _answer(
    body: GenerateBase, service: Service, model: tuple[AsyncLLM, Served], prompt: ChatPrompt, part: Part, begin: float
) -> Response:
    llm, served = model
    answers = await service.submitted(llm, served, [prompt])
    made = _Answer(llm, served, answers, part, begin)
    if body.stream:
        return lines(made.lines(), lambda error: error.ollama)
    return JSON(await service.unless_gone(made.whole()))


class _Answer:
    """The response to one request, whole or in lines."""

    def __init__(self, llm: AsyncLLM, served: Served, answers: Answers, part: Part, begin: float) -> None:
        self._llm = llm
        self._name = served.name
        self._answers = answers
        self._part = part
        self._begin = begin
        was_loaded = served.loaded_at < time.time() - (time.perf_counter() - begin)
        self._load_s = 0.0 if was_loaded else served.load_s

    def _line(self, text: str, thoughts: str, calls: list[Any]) -> dict[str, Any]:
        return {"model": self._name, "created_at": timestamp(time.time()), **self._part(text, thoughts, calls)}

    async def whole(self) -> dict[str, Any]:
        """Return the whole response."""
        (reply,) = await self._answers.replies()
        line = self._line(reply.text, reply.reasoning, reply.tool_calls)
        if reply.logprobs:
            line["logprobs"] = self._logprobs(reply.logprobs)
        return {**line, **self._end()}

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the lines of a stream; calls come whole, before the last line."""
        async for piece in self._answers.pieces():
            if piece.text or piece.reasoning or piece.logprobs:
                line = {**self._line(piece.text, piece.reasoning, []), "done": False}
                yield {**line, "logprobs": self._logprobs(piece.logprobs)} if piece.logprobs else line
        (completion,) = self._answers.completions
        if completion.tool_calls:
            yield {**self._line("", "", completion.tool_calls), "done": False}
        yield {**self._line("", "", []), **self._end()}

    def _end(self) -> dict[str, Any]:
        (completion,) = self._answers.completions
        timings = completion.timings
        return {
            "done": True,
            "done_reason": "length" if openai_finish(completion.finish_reason) == "length" else "stop",
            "total_duration": _ns(time.perf_counter() - self._begin),
            "load_duration": _ns(self._load_s),
            "prompt_eval_count": timings.n_prompt,
            "prompt_eval_duration": _ns(timings.prefill_s),
            "eval_count": timings.n_generated,
            "eval_duration": _ns(timings.decode_s),
        }

    def _logprobs(self, sampled: list[TokenLogprobs]) -> list[dict[str, Any]]:
        tokenizer = self._llm.tokenizer
        return [
            {
                **token_logprob(tokenizer, one.token_id, one.logprob),
                "top_logprobs": [token_logprob(tokenizer, *pair) for pair in one.top],
            }
            for one in sampled
        ]


def _ns(seconds: float) -> int:
    return int(1e9 * seconds)


@router.post("/api/embed", response_model=None)
async def embed(body: EmbedBody, service: Serving) -> Response:
    """Embed texts."""
    begin = time.perf_counter()
    llm, served = await _model(body, service)
    service.need_room_for(len(body.texts), "input")
    ids = await service.in_thread(lambda: [_ids(llm, text, body.truncate) for text in body.texts])
    vectors = await service.unless_gone(llm.embed(ids, dimensions=body.dimensions)) if ids else []
    service.embedded(served, sum(map(len, ids)))
    rows = [[float(value) for value in row] for row in vectors]
    took = {"total_duration": _ns(time.perf_counter() - begin), "load_duration": 0}
    return JSON({"model": served.name, "embeddings": rows, **took, "prompt_eval_count": sum(map(len, ids))})


def _ids(llm: AsyncLLM, text: str, truncate: bool) -> list[int]:
    """Return the tokens of a text, of a long one the first that fit."""
    ids, after = llm.tokenize(text), list(llm.tokenizer.ids_after)
    most = min(llm.n_ctx, llm.params.n_batch) if llm.engine.model.has_encoder else llm.n_ctx
    return [*ids[: most - len(after)], *after] if truncate and len(ids) > most else ids
