"""Service: what the endpoints of all protocols work with; one for each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, Request

from realizar.calls import ChatPrompt
from realizar.server.answers import Answers
from realizar.server.errors import ApiError, not_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar.async_llm import AsyncLLM
    from realizar.params import SamplingParams
    from realizar.server.metrics import Metrics
    from realizar.server.models import ModelPool, Served
    from realizar.server.responses_store import ResponseStore
    from realizar.server.settings import Settings

T = TypeVar("T")


class Service:
    """The models, settings and metrics of the server, for one request, which it ends when the client goes away.

    Parameters
    ----------
    request : Request
    stack : AsyncExitStack
        Left when the response was sent, or its client is gone.
    """

    def __init__(self, request: Request, stack: AsyncExitStack) -> None:
        self._request = request
        self._stack = stack
        self.settings: Settings = request.app.state.settings
        self.pool: ModelPool = request.app.state.pool
        self.metrics: Metrics = request.app.state.metrics
        self.responses: ResponseStore = request.app.state.responses
        self._lora: str | None = None

    async def llm(self, name: str | None, loads: bool = True, takes_lora: bool = True) -> tuple[AsyncLLM, Served]:
        """Return a model, loaded until the response was sent, and its entry.

        Raises as `ModelPool.use`; unless `loads`, 503 if it is not loaded; unless `takes_lora`, 400 for an adapter.
        """
        state = self._request.app.state
        if not state.is_ready:
            raise not_ready(state.is_closing)
        served = self.pool.find(name)
        self._lora = next((each for each in (name, (name or "").removesuffix(":latest")) if each in served.loras), None)
        if self._lora is not None and not takes_lora:
            text = f"{self._lora} is a LoRA adapter, which this endpoint does not apply; name the model {served.name}"
            raise ApiError(400, text, "invalid_value", "model")
        if not loads and served.status != "loaded":
            text = f"the model {served.name} is not loaded, and this request loads none; POST /tokenize does"
            raise ApiError(503, text, "model_not_loaded")
        used = self._stack.enter_async_context(self.pool.use(served.name))
        return await self.unless_gone(used), served

    async def submitted(
        self, llm: AsyncLLM, served: Served, prompts: Sequence[ChatPrompt], id_slot: int = -1
    ) -> Answers:
        """Submit prompts, and return their answers, which are given up if the client goes away."""
        slot = served.slots.take(llm.params.n_seqs, id_slot)
        prompts = [self._with_adapters(prompt, served) for prompt in prompts]
        answers = Answers(llm, served.name, prompts, self.metrics)
        self._stack.callback(answers.cancel)
        if self.settings.traces:
            from realizar.server.tracing import describe

            self._stack.callback(describe, self._request.scope, served.name, answers)
        if slot is not None:
            answers.id_slot = slot.number
            self._stack.enter_context(slot.used_by(answers))
        await self.unless_gone(answers.submit())
        return answers

    def _with_adapters(self, prompt: ChatPrompt, served: Served) -> ChatPrompt:
        """Return a prompt with the LoRA adapter that the client named as the model, else the adapters of all."""
        if prompt.params.lora:
            return prompt
        lora = {name: scale for name, scale in served.lora_scales.items() if scale}
        return prompt._replace(params=replace(prompt.params, lora=self._lora or lora))

    def embedded(self, served: Served, n_tokens: int) -> None:
        """Note in the request's span that so many tokens were embedded."""
        if self.settings.traces:
            from realizar.server.tracing import describe_embeddings

            describe_embeddings(self._request.scope, served.name, n_tokens)

    def need_room_for(self, n: int, param: str) -> None:
        """Raise ApiError, 400, if so many texts do not even fit into an empty queue."""
        most = self.settings.max_queue
        if n > most:
            raise ApiError(400, f"{param}: {n} texts; at most {most} here, see --max-queue", "invalid_value", param)

    async def in_thread(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call a function that computes for a while, such as a tokenizer, in another thread."""
        return await asyncio.to_thread(function, *arguments, **options)

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """Return a result; if the client goes away before it is there, cancel the work.

        Raises
        ------
        ApiError
            If the client has disconnected.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ApiError(499, "the client went away")
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


def plain_prompt(ids: Any, params: SamplingParams) -> ChatPrompt:
    """Return a prompt that is no conversation: text, or token ids."""
    return ChatPrompt(ids, params)


def text_ids(llm: AsyncLLM, text: str) -> list[int]:
    """Return the tokens of a prompt, in which names of special tokens count as such.

    Clients render conversations themselves, or by /apply-template; the text then has its own BOS.
    """
    tokenizer = llm.tokenizer
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    before = list(tokenizer.ids_before)
    return [*(before if ids[: len(before)] != before else []), *ids, *tokenizer.ids_after]


async def _service(request: Request) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield Service(request, stack)


Serving = Annotated[Service, Depends(_service)]
