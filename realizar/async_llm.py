"""AsyncLLM: `LLM` for asyncio, with the same parameters and results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from realizar.engine.loop import Waiter
from realizar.engine.output import ErrorEvent, TextEvent
from realizar.loaded import DEFAULT, LoadedModel, Messages, Pooling, Prompt, ToolChoice, Tools, ranked
from realizar.params import SamplingParams

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from realizar.engine.engine import Engine
    from realizar.engine.handle import Handle
    from realizar.engine.output import Completion, Event
    from realizar.engine.request import Request, TextRequest
    from realizar.engine.scoring import Score, ScoreRequest
    from realizar.tokenizer.fim import Order

T = TypeVar("T")


class AsyncLLM(LoadedModel):
    """A model, ready to continue texts, for asyncio: what `LLM` returns is awaited or iterated over.

    Prompts are made in threads of asyncio's, and the engine's own thread computes; the event loop never waits. A task
    that is cancelled gives its requests up. One AsyncLLM may be used from several event loops.

    Parameters
    ----------
    model, n_threads, n_ctx, n_seqs, n_batch, kv_type, activations, load, speculate, draft, n_draft,
    max_waiting, backend
        As those of `LLM`.

    Examples
    --------
    >>> async with AsyncLLM("smollm2") as llm:  # doctest: +SKIP
    ...     async for piece in llm.stream("Why is the sky blue?"):
    ...         print(piece, end="")
    """

    async def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] = DEFAULT,
        *,
        priority: int = 0,
    ) -> list[Completion]:
        """Continue one or several prompts; as `LLM.generate`."""
        requests = await _made(lambda: self._text_requests(prompts, params, priority))
        await _complete(self.engine, requests)
        return [request.completion() for request in requests]

    def stream(self, prompt: Prompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> AsyncTextStream:
        """Continue one prompt, piece by piece; as `LLM.stream`, but errors come when the first piece is asked for."""
        return AsyncTextStream(self._followed(lambda: self._streamed(prompt, params, priority)))

    def events(self, prompt: Prompt, params: SamplingParams = DEFAULT, *, priority: int = 0) -> AsyncHandle:
        """Continue one prompt and follow it by typed events; as `LLM.events`, errors as with `stream`."""
        return self._followed(lambda: self._text_request(prompt, params, priority))

    def _followed(self, make: Callable[[], TextRequest]) -> AsyncHandle:
        return AsyncHandle(self.engine, make)

    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: Literal[False] = False,
    ) -> Coroutine[Any, Any, Completion]: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: Literal[True],
    ) -> AsyncTextStream: ...  # fmt: skip
    def chat(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template_kwargs: Mapping[str, Any] | None = None, priority: int = 0,
        stream: bool = False,
    ) -> Coroutine[Any, Any, Completion] | AsyncTextStream:  # fmt: skip
        """Answer the last message of a conversation; as `LLM.chat`: to be awaited, or iterated over with `stream`."""

        def prompt() -> tuple[Any, ...]:
            ids, own, use = self._prompts.make(messages, params, tools, tool_choice, chat_template_kwargs)
            return ids, own, priority, use

        if stream:
            return AsyncTextStream(self._followed(lambda: self._streamed(*prompt())))
        return self._one(lambda: [self._text_request(*prompt())])

    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: Literal[False] = False,
    ) -> Coroutine[Any, Any, Completion]: ...  # fmt: skip
    @overload
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: Literal[True],
    ) -> AsyncTextStream: ...  # fmt: skip
    def infill(
        self, prefix: str, suffix: str, params: SamplingParams = DEFAULT, *, order: Order | None = None,
        priority: int = 0,
        stream: bool = False,
    ) -> Coroutine[Any, Any, Completion] | AsyncTextStream:  # fmt: skip
        """Write what belongs between two texts; as `LLM.infill`: to be awaited, or iterated over with `stream`."""
        if stream:
            return AsyncTextStream(
                self._followed(lambda: self._streamed(self.tokenizer.infill(prefix, suffix, order), params, priority))
            )
        return self._one(lambda: [self._text_request(self.tokenizer.infill(prefix, suffix, order), params, priority)])

    async def _one(self, make: Callable[[], list[TextRequest]]) -> Completion:
        requests = await _made(make)
        await _complete(self.engine, requests)
        return requests[0].completion()

    async def logits(
        self, token_ids: Sequence[int], decoder_tokens: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a text, float32 [n_tokens, n_vocab]; as `LLM.logits`."""
        requests = await _made(lambda: [self._logits_request(token_ids, decoder_tokens)])
        await _complete(self.engine, requests)
        return requests[0].logits

    async def score(self, prompt: Prompt, continuation: Any, logprobs: int = 1) -> Score | list[Score]:
        """Return the log-probability of a text, or of each of several, after a prompt; as `LLM.score`."""
        single, pairs = await asyncio.to_thread(self._pairs, prompt, continuation)
        requests: list[ScoreRequest] = []
        for batch in (pairs[:1], pairs[1:]):  # the others find in the cache what the first one computed
            now = await _made(partial(self._score_requests, batch, logprobs))
            await _complete(self.engine, now)
            requests += now
        scores = [request.score() for request in requests]
        return scores[0] if single else scores

    async def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Pooling = "auto", normalize: bool = True, *,
        prompt: str | None = None, dimensions: int | None = None, priority: int = 0,
    ) -> Any:  # fmt: skip
        """Return vectors that stand for texts, float32 [n_texts, n_embd]; as `LLM.embed`."""
        pool = self._pooler(pooling, normalize, dimensions)
        requests = await _made(lambda: self._vector_requests(texts, pooling, prompt, priority))
        await _complete(self.engine, requests)
        return pool([request.hidden for request in requests])

    async def rerank(
        self, query: str, documents: Sequence[str], *, prompt: str | None = None, priority: int = 0
    ) -> list[tuple[int, float]]:
        """Return documents by how relevant they are to a query, as index and score; as `LLM.rerank`."""
        requests = await _made(lambda: self._pair_requests(query, documents, prompt, priority))
        await _complete(self.engine, requests)
        return ranked(requests)

    async def classify(self, texts: Prompt | Sequence[Prompt], *, priority: int = 0) -> list[dict[str, float]]:
        """Return the probability of each class, for each text; as `LLM.classify`."""
        requests = await _made(lambda: self._class_requests(texts, priority))
        await _complete(self.engine, requests)
        return self._classes(requests)

    async def close(self) -> None:
        """Give all memory back; as `LLM.close`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.close)

    async def __aenter__(self) -> AsyncLLM:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


class AsyncHandle(AsyncIterator["Event"]):
    """The events of a request, for `async for`; as `Handle`. The request is handed in when the first one is asked for.

    Parameters
    ----------
    engine : Engine
    make : callable
        Hands the request in.
    """

    def __init__(self, engine: Engine, make: Callable[[], TextRequest]) -> None:
        self._engine = engine
        self._make = make
        self._request: TextRequest | None = None
        self._handle: Handle | None = None
        self._came = asyncio.Event()

    @property
    def request(self) -> TextRequest | None:
        """The request, once it is handed in."""
        return self._request

    async def __anext__(self) -> Event:
        if self._handle is None:
            (self._request,) = await _made(lambda: [self._make()])
            self._handle = self._engine.loop.submit(self._request, notify=_notifier(self._came))
        while not self._handle.has_ended:
            self._came.clear()
            event = self._handle.poll()
            if event is not None:
                return event
            await self._came.wait()
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Give the request up."""
        if self._handle is not None:
            self._handle.cancel()


class AsyncTextStream(AsyncIterator[str]):
    """Pieces of a text as they come, for `async for`; as `TextStream`."""

    def __init__(self, events: AsyncHandle) -> None:
        self._events = events

    @property
    def completion(self) -> Completion | None:
        """The answer as far as it has come; None before the first piece was asked for."""
        request = self._events.request
        return None if request is None else request.completion()

    async def __anext__(self) -> str:
        async for event in self._events:
            if isinstance(event, TextEvent):
                return event.text
            if isinstance(event, ErrorEvent):
                raise event.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the rest up."""
        self._events.cancel()


def _notifier(came: asyncio.Event) -> Callable[[], None]:
    """Return what tells the running event loop, from any thread, that events came."""
    loop = asyncio.get_running_loop()

    def notify() -> None:
        if not came.is_set():
            loop.call_soon_threadsafe(came.set)

    return notify


async def _made(make: Callable[[], list[T]]) -> list[T]:
    """Have requests made in another thread; where the task is cancelled meanwhile, they are, too."""
    making = asyncio.get_running_loop().run_in_executor(None, make)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(lambda done: _give_up(() if done.exception() else done.result()))
        raise


def _give_up(requests: Iterable[Any]) -> None:
    for request in requests:
        request.cancel()


async def _complete(engine: Engine, requests: Sequence[Request]) -> None:
    """Wait until requests are over; raise the first error among them."""
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    waiter = Waiter(lambda: all(request.is_over for request in requests), lambda: loop.call_soon_threadsafe(done.set))
    try:
        if engine.loop.start():
            engine.loop.add(waiter)
            if not engine.is_closed:
                await done.wait()
        if not all(request.is_over for request in requests) and waiter.error is None:
            await asyncio.to_thread(engine.complete, requests)  # there is no loop thread: this one makes the steps
    finally:
        engine.loop.discard(waiter)
        _give_up(requests)
    for error in (waiter.error, *(request.error for request in requests)):
        if error is not None:
            raise error
