"""The Responses API of OpenAI: POST /v1/responses, what is stored of it, and /v1/responses/input_tokens."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel

from realizar.params import SamplingParams
from realizar.server.errors import ApiError
from realizar.server.fields import sampling, unranked
from realizar.server.messages import chat_prompt, response_constraint
from realizar.server.openai_shapes import new_id, openai_finish
from realizar.server.responses_output import Output
from realizar.server.responses_shapes import (
    MAX_ITEMS,
    InputRequest,
    Item,
    ResponseRequest,
    chat_choice,
    chat_messages,
    chat_tools,
    known_item,
)
from realizar.server.service import Service, Serving
from realizar.server.sse import JSON, events
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.calls import ChatPrompt
    from realizar.server.answers import Answers

router = APIRouter(route_class=StrictRoute)
LOGPROBS = "message.output_text.logprobs"
"""What a client includes to get logprobs."""


@router.post("/responses", response_model=None, include_in_schema=False)
@router.post("/v1/responses", response_model=None)
async def responses(body: ResponseRequest, service: Serving) -> Response:
    """Answer a conversation."""
    if body.background:
        raise ApiError(400, "background: responses in the background are not supported", "invalid_value", "background")
    llm, served = await service.llm(body.model)
    before = _before(body, service)
    params = _params(body, service)
    prompt = await _prompt(llm, body, before, params, service)
    answers = await service.submitted(llm, served, [prompt])
    made = _Made(llm, served.name, answers, body, params)

    def store() -> None:
        if body.store is not False:
            service.responses.add(made.response, before, [known_item(item) for item in body.items])

    if body.stream:
        return events(made.events(store), made.error)
    await service.unless_gone(made.wait(store))
    return JSON(made.response)


@router.post("/v1/responses/input_tokens", response_model=None)
async def input_tokens(body: InputRequest, service: Serving) -> Response:
    """Count the tokens of a conversation."""
    llm, _ = await service.llm(body.model)
    prompt = await _prompt(llm, body, _before(body, service), SamplingParams(lenient=True), service)
    return JSON({"object": "response.input_tokens", "input_tokens": prompt.n_tokens})


@router.get("/v1/responses/{response_id}", response_model=None)
async def stored(response_id: str, service: Serving) -> Response:
    """Return a response that is kept."""
    return JSON(service.responses.find(response_id).response)


@router.delete("/v1/responses/{response_id}", response_model=None)
async def delete(response_id: str, service: Serving) -> Response:
    """Forget a response."""
    service.responses.delete(response_id)
    return JSON({"id": response_id, "object": "response.deleted", "deleted": True})


@router.get("/v1/responses/{response_id}/input_items", response_model=None)
async def input_items(response_id: str, service: Serving) -> Response:
    """Return the input of a response that is kept."""
    given = service.responses.find(response_id).given
    data = [{"id": f"{response_id}_{i}", **item} for i, item in enumerate(given)]
    ids = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return JSON({"object": "list", "data": data, **ids, "has_more": False})


def _before(body: InputRequest, service: Service) -> list[Item]:
    """Return the items of the conversation that is continued."""
    if body.previous_response_id is None:
        return []
    try:
        return service.responses.find(body.previous_response_id).items
    except ApiError as error:
        raise ApiError(400, error.detail, "previous_response_not_found", "previous_response_id") from None


def _params(body: ResponseRequest, service: Service) -> SamplingParams:
    own = response_constraint(None if body.text is None else body.text.format)
    if body.tools and any(tool.get("strict") is not True for tool in body.tools):
        own.setdefault("lenient", True)
    if body.truncation == "auto":
        own["truncate_prompt"] = "left"
    logprobs = body.top_logprobs
    if logprobs is None and LOGPROBS in (body.include or ()):
        logprobs = 0
    params = sampling(body, service.settings, max_tokens=body.max_output_tokens, logprobs=logprobs, **own)
    return unranked(params)


async def _prompt(
    llm: AsyncLLM, body: InputRequest, before: list[Item], params: SamplingParams, service: Service
) -> ChatPrompt:
    items = [*before, *body.items]
    if len(items) > MAX_ITEMS:
        text = f"input: {len(items)} items with those before it; at most {MAX_ITEMS} here"
        raise ApiError(400, text, "invalid_value", "input")
    return await service.in_thread(
        chat_prompt, llm, chat_messages(body.instructions, items), params, tools=chat_tools(body.tools),
        tool_choice=chat_choice(body.tool_choice), parallel=body.parallel_tool_calls is not False,
        variables=body.chat_template_kwargs, effort=None if body.reasoning is None else body.reasoning.effort,
    )  # fmt: skip


class _Made:
    """The response to one request while it is written.

    Attributes
    ----------
    response : dict
        The response so far.
    """

    def __init__(
        self, llm: AsyncLLM, name: str, answers: Answers, body: ResponseRequest, params: SamplingParams
    ) -> None:
        self._answers = answers
        self._output = Output(llm.tokenizer, params.logprobs is not None)
        self._n_events = 0
        text = {"format": {"type": "text"}} if body.text is None else _given(body.text)
        self.response: dict[str, Any] = {
            "id": new_id("resp_"), "object": "response", "created_at": int(time.time()), "status": "in_progress",
            "model": name, "output": self._output.items, "error": None, "incomplete_details": None,
            "instructions": body.instructions, "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {}, "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": None if body.reasoning is None else body.reasoning.effort, "summary": None},
            "store": body.store is not False, "temperature": body.temperature, "text": text,
            "tool_choice": body.tool_choice or "auto", "tools": body.tools or [], "top_p": body.top_p,
            "top_logprobs": body.top_logprobs, "truncation": body.truncation or "disabled", "usage": None,
        }  # fmt: skip

    async def wait(self, store: Callable[[], None]) -> None:
        """Write the response to its end, and store it."""
        async for _ in self.events(store):
            pass

    async def events(self, store: Callable[[], None]) -> AsyncIterator[tuple[str, Any]]:
        """Yield the events of a stream; call `store` when the response is complete."""
        yield self._event({"type": "response.created", "response": self._snapshot()})
        yield self._event({"type": "response.in_progress", "response": self._snapshot()})
        async for piece in self._answers.pieces():
            for event in self._output.add(piece):
                yield self._event(event)
        ((reason, _),) = self._answers.finish_reasons()
        status = "incomplete" if openai_finish(reason) == "length" else "completed"
        for event in self._output.end(status):
            yield self._event(event)
        self.response["status"] = status
        if status == "incomplete":
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self.response["completed_at"] = int(time.time())
        self.response["usage"] = self._usage()
        store()
        yield self._event({"type": f"response.{status}", "response": self._snapshot()})

    def error(self, error: ApiError) -> tuple[str, Any]:
        """Return the event of an error in the middle of a stream. OpenAI's client raises what has an "error"."""
        shape = error.openai["error"]
        return self._event(
            {"type": "error", "code": error.code, "message": error.detail, "param": None, "error": shape}
        )

    def _event(self, event: dict[str, Any]) -> tuple[str, Any]:
        self._n_events += 1
        return event["type"], {**event, "sequence_number": self._n_events - 1}

    def _snapshot(self) -> dict[str, Any]:
        return {**self.response, "output": [dict(item) for item in self._output.items]}

    def _usage(self) -> dict[str, Any]:
        found = self._answers.usage
        return {
            "input_tokens": found.n_prompt,
            "input_tokens_details": {"cached_tokens": found.n_cached},
            "output_tokens": found.n_generated,
            "output_tokens_details": {"reasoning_tokens": found.n_reasoning},
            "total_tokens": found.n_prompt + found.n_generated,
        }


def _given(body: BaseModel) -> dict[str, Any]:
    return body.model_dump(exclude_none=True)
