"""AsyncLLM: `LLM` for asyncio, with the same parameters and results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from realizar.adapter_methods import AdapterMethods
from realizar.calls import ChatOptions
from realizar.calls.messages import conversations_of
from realizar.chat import ChatModel
from realizar.engine.loop import Waiter
from realizar.engine.output import ErrorEvent, TextEvent
from realizar.engine.saving import read_cache, write_cache
from realizar.loaded import DEFAULT, Messages, Pooling, Prompt, ToolChoice, Tools, ranked
from realizar.params import SamplingParams
from realizar.params.adapters import Lora
from realizar.params.per_prompt import chosen_params

if TYPE_CHECKING:
    import os
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Unpack

    from realizar.calls import ChatPrompt
    from realizar.chat import ChatKeywords, Template
    from realizar.engine.engine import Engine
    from realizar.engine.handle import Handle
    from realizar.engine.output import Completion, Event
    from realizar.engine.request import Request, TextRequest
    from realizar.engine.scoring import Score, ScoreRequest
    from realizar.tokenizer.fim import Order

R = TypeVar("R", bound="Request")


class AsyncLLM(AdapterMethods, ChatModel):
    """A loaded model for asyncio: methods return awaitables or async iterators instead of the results of `LLM`.

    Prompts are tokenized in asyncio's worker threads, and the engine computes in its own thread; the event loop is
    never blocked. If a task is cancelled, so are its requests. An AsyncLLM can be used from several event loops.

    Parameters
    ----------
    model, n_threads, n_ctx, n_seqs, n_batch, kv_type, activations, load, speculate, draft, n_draft
        See `LLM`.
    max_waiting, backend, mmproj, allow_urls, device, n_gpu_layers, n_cpu_moe, tensor_devices
        See `LLM`.

    Examples
    --------
    >>> async with AsyncLLM("smollm2") as llm:  # doctest: +SKIP
    ...     async for piece in llm.stream("Why is the sky blue?"):
    ...         print(piece, end="")
    """

    async def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        lora: Lora = None,
        priority: int = 0,
    ) -> list[Completion]:
        """Generate completions for one or several prompts; see `LLM.generate`."""
        chosen = chosen_params(params, sampling_params, lora)
        return await self._all(lambda: self._text_requests(prompts, chosen, priority))

    def stream(
        self, prompt: Prompt | ChatPrompt, params: SamplingParams = DEFAULT, *, priority: int = 0
    ) -> AsyncTextStream:
        """Stream the completion of a prompt; see `LLM.stream`. Errors are raised when the first piece is requested."""
        return AsyncTextStream(self._handle_of(lambda: self._streamed(prompt, params, priority)))

    def events(
        self, prompt: Prompt | ChatPrompt, params: SamplingParams = DEFAULT, *, priority: int = 0
    ) -> AsyncHandle:
        """Stream the events of a prompt; see `LLM.events`.

        Errors are raised by `AsyncHandle.submit`, or when the first event is requested.
        """
        return self._handle_of(lambda: self._text_request(prompt, params, priority))

    def _handle_of(self, make: Callable[[], TextRequest]) -> AsyncHandle:
        return AsyncHandle(self.engine, make)

    @overload
    def chat(
        self, messages: Messages, params: SamplingParams | None = None, *, stream: Literal[False] = False,
        **options: Unpack[ChatKeywords],
    ) -> Coroutine[Any, Any, Completion]: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Sequence[Messages], params: SamplingParams | Sequence[SamplingParams] | None = None, *,
        stream: Literal[False] = False, **options: Unpack[ChatKeywords],
    ) -> Coroutine[Any, Any, list[Completion]]: ...  # fmt: skip
    @overload
    def chat(
        self, messages: Messages, params: SamplingParams | None = None, *, stream: Literal[True],
        **options: Unpack[ChatKeywords],
    ) -> AsyncTextStream: ...  # fmt: skip
    def chat(
        self, messages: Messages | Sequence[Messages],
        params: SamplingParams | Sequence[SamplingParams] | None = None, *,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None, lora: Lora = None,
        tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", chat_template: Template | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None, continue_final_message: bool = False,
        add_generation_prompt: bool | None = None, priority: int = 0, stream: bool = False,
    ) -> Coroutine[Any, Any, Completion] | Coroutine[Any, Any, list[Completion]] | AsyncTextStream:  # fmt: skip
        """Generate the next message of conversations; see `LLM.chat`. With `stream`: an async iterator."""
        options = ChatOptions(
            tools, tool_choice, chat_template_kwargs, True, continue_final_message, add_generation_prompt
        )
        chosen = chosen_params(params, sampling_params, lora)
        if stream:
            return AsyncTextStream(
                self._handle_of(
                    lambda: self._streamed(
                        self._one_prompt(messages, chosen, options, chat_template), DEFAULT, priority
                    )
                )
            )
        several, conversations = conversations_of(messages)
        make = partial(self._chat_requests, conversations, chosen, options, chat_template, priority)
        return self._all(make) if several else self._one(make)

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
        """Generate the text between a prefix and a suffix; see `LLM.infill`. With `stream`: an async iterator."""
        if stream:
            return AsyncTextStream(
                self._handle_of(lambda: self._streamed(self.tokenizer.infill(prefix, suffix, order), params, priority))
            )
        return self._one(lambda: [self._text_request(self.tokenizer.infill(prefix, suffix, order), params, priority)])

    async def _all(self, make: Callable[[], list[TextRequest]]) -> list[Completion]:
        return [request.completion() for request in await self._completed(make)]

    async def _one(self, make: Callable[[], list[TextRequest]]) -> Completion:
        (request,) = await self._completed(make)
        return request.completion()

    async def _completed(self, make: Callable[[], list[R]]) -> list[R]:
        """Submit requests and wait until they have ended."""
        engine = self.engine
        requests = await _made(engine, make)
        await _complete(engine, requests)
        return requests

    async def logits(
        self, token_ids: Sequence[int], decoder_tokens: Sequence[int] | None = None, *, priority: int = 0
    ) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a sequence, float32 [n_tokens, n_vocab]; see `LLM.logits`."""
        (request,) = await self._completed(lambda: [self._logits_request(token_ids, decoder_tokens, priority)])
        return request.logits

    async def score(
        self, prompt: Prompt, continuation: Any, logprobs: int = 1, *, priority: int = 0
    ) -> Score | list[Score]:
        """Return the logprobs of one or several continuations of a prompt; see `LLM.score`."""
        single, pairs = await asyncio.to_thread(self._pairs, prompt, continuation)
        requests: list[ScoreRequest] = []
        for batch in (pairs[:1], pairs[1:]):  # the first one puts the prompt into the prefix cache
            requests += await self._completed(partial(self._score_requests, batch, logprobs, priority))
        scores = [request.score() for request in requests]
        return scores[0] if single else scores

    async def embed(
        self, texts: Prompt | Sequence[Prompt], pooling: Pooling = "auto", normalize: bool = True, *,
        prompt: str | None = None, dimensions: int | None = None, priority: int = 0,
    ) -> Any:  # fmt: skip
        """Return embeddings, float32 [n_texts, n_embd]; see `LLM.embed`."""
        pool = self._pooler(pooling, normalize, dimensions)
        requests = await self._completed(lambda: self._vector_requests(texts, pooling, prompt, priority))
        return pool([request.hidden for request in requests])

    async def rerank(
        self, query: str, documents: Sequence[str], *, prompt: str | None = None, priority: int = 0
    ) -> list[tuple[int, float]]:
        """Return documents by how relevant they are to a query, as index and score; see `LLM.rerank`."""
        requests = await self._completed(lambda: self._pair_requests(query, documents, prompt, priority))
        return ranked(requests)

    async def classify(self, texts: Prompt | Sequence[Prompt], *, priority: int = 0) -> list[dict[str, float]]:
        """Return the probability of each class, for each text; see `LLM.classify`."""
        requests = await self._completed(lambda: self._class_requests(texts, priority))
        return self._classes(requests)

    async def save_cache(self, path: str | os.PathLike[str], prompt: Prompt, *, priority: int = 0) -> list[int]:
        """Write the KV cache of a prompt to a file, and return its tokens; see `LLM.save_cache`."""
        engine = self.engine
        (request,) = await self._completed(lambda: [engine.save(self._ids(prompt, is_continued=True), priority)])
        return await asyncio.to_thread(write_cache, path, engine, request)

    async def load_cache(self, path: str | os.PathLike[str], *, priority: int = 0) -> list[int]:
        """Restore the KV cache of a prompt from a file, and return its tokens; see `LLM.load_cache`."""
        engine = self.engine
        saved = await asyncio.to_thread(read_cache, path, engine)
        await self._completed(lambda: [engine.restore(saved, priority)])
        return saved.token_ids

    async def close(self) -> None:
        """Free all memory; see `LLM.close`."""
        await asyncio.to_thread(self._shut)

    async def __aenter__(self) -> AsyncLLM:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


class AsyncHandle(AsyncIterator["Event"]):
    """An async iterator over the events of a request, like `Handle`; the first event submits the request.

    Parameters
    ----------
    engine : Engine
    make : callable
        Submits the request.
    """

    def __init__(self, engine: Engine, make: Callable[[], TextRequest]) -> None:
        self._engine = engine
        self._make = make
        self._request: TextRequest | None = None
        self._handle: Handle | None = None
        self._arrived = asyncio.Event()
        self._is_cancelled = False

    @property
    def request(self) -> TextRequest | None:
        """The request; None before it is submitted."""
        return self._request

    async def __anext__(self) -> Event:
        _need_no_step(self._engine)
        handle = self._handle or await self._submitted()
        while handle is not None and not handle.has_ended:
            self._arrived.clear()
            event = handle.poll()
            if event is not None:
                return event
            if self._engine.loop.start():
                await self._arrived.wait()
            else:
                await asyncio.to_thread(handle.wait)
        raise StopAsyncIteration

    async def submit(self) -> None:
        """Submit the request now instead of with the first event; raises the errors of invalid requests."""
        if self._handle is None:
            await self._submitted()

    async def _submitted(self) -> Handle | None:
        """Submit the request, unless it was cancelled before."""
        if self._is_cancelled:
            return None
        (self._request,) = await _made(self._engine, lambda: [self._make()])
        if self._is_cancelled:
            self._engine.cancel([self._request])
        self._handle = self._engine.loop.submit(self._request, notify=_notifier(self._arrived))
        return self._handle

    def cancel(self) -> None:
        """Cancel the request, even if it is not submitted yet."""
        self._is_cancelled = True
        if self._handle is not None:
            self._handle.cancel()


class AsyncTextStream(AsyncIterator[str]):
    """An async iterator over the pieces of a completion, like `TextStream`."""

    def __init__(self, events: AsyncHandle) -> None:
        self._events = events

    @property
    def completion(self) -> Completion | None:
        """The completion so far; None before the first piece was requested."""
        request = self._events.request
        return None if request is None else request.completion()

    async def __anext__(self) -> str:
        async for event in self._events:
            if isinstance(event, TextEvent):
                return event.text
            if isinstance(event, ErrorEvent):
                raise event.error
        raise StopAsyncIteration

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events from here on in place of the pieces; see `TextStream.events`."""
        async for event in self._events:
            if isinstance(event, ErrorEvent):
                raise event.error
            yield event

    async def aclose(self) -> None:
        """Cancel the request."""
        self._events.cancel()


def _notifier(arrived: asyncio.Event) -> Callable[[], None]:
    """Return a callback that tells the running event loop, from any thread, that events are available."""
    loop = asyncio.get_running_loop()

    def notify() -> None:
        if not arrived.is_set():
            loop.call_soon_threadsafe(arrived.set)

    return notify


async def _made(engine: Engine, make: Callable[[], list[R]]) -> list[R]:
    """Make requests in another thread; if the task is cancelled meanwhile, so are the requests."""
    making = asyncio.get_running_loop().run_in_executor(None, make)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(lambda done: engine.cancel(() if done.exception() else done.result()))
        raise


def _need_no_step(engine: Engine) -> None:
    """Raise ReentryError in the thread of a running step, which would deadlock."""
    with engine.waiting():
        pass


async def _complete(engine: Engine, requests: Sequence[Request]) -> None:
    """Wait until all requests have ended; raise the first error among them."""
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    waiter = Waiter(lambda: all(request.is_over for request in requests), lambda: loop.call_soon_threadsafe(done.set))
    try:
        _need_no_step(engine)
        if engine.loop.start():
            engine.loop.add(waiter)
            if not engine.is_closed:
                await done.wait()
        if not all(request.is_over for request in requests) and waiter.error is None:
            await asyncio.to_thread(engine.complete, requests)  # no engine thread: the waiting thread runs the steps
    finally:
        engine.loop.discard(waiter)
        engine.cancel(requests)
    for error in (waiter.error, *(request.error for request in requests)):
        if error is not None:
            raise error
