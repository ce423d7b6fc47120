"""The dicts that llama-cpp-python's Llama returns: completions, chat completions, their chunks, and embeddings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from realizar.engine.output import ErrorEvent, FinishEvent, TextEvent, TokensEvent, ToolCallEvent
from realizar.server.openai_shapes import (
    chat_logprobs,
    completion_logprobs,
    openai_finish,
    tool_call_delta,
    tool_calls,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realizar.engine.output import Completion, Event
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.tokenizer import Tokenizer


def finished(events: Iterable[Event]) -> Completion:
    """Return the completion at the end of events; raises the error of a request that failed."""
    for event in events:
        if isinstance(event, ErrorEvent):
            raise event.error
        if isinstance(event, FinishEvent) and event.completion is not None:
            return event.completion
    raise RuntimeError("the events ended without a completion")


def _usage(completion: Completion) -> dict[str, int]:
    """Return the numbers of tokens; llama-cpp-python does not count the one that ends a text."""
    n_prompt, n = completion.timings.n_prompt, completion.timings.n_generated
    n -= completion.finish_reason in ("eos", "tool_calls")
    return {"prompt_tokens": n_prompt, "completion_tokens": n, "total_tokens": n_prompt + n}


def _pieces(events: Iterable[Event]) -> Iterator[tuple[Event, list[TokenLogprobs]]]:
    """Yield events with something to show, each with the logprobs of the tokens since the last one."""
    waiting: list[TokenLogprobs] = []
    for event in events:
        if isinstance(event, ErrorEvent):
            raise event.error
        if isinstance(event, TokensEvent):
            waiting += event.logprobs or []
        else:
            yield event, waiting
            waiting = []


class TextShapes:
    """The results of one call of `create_completion`.

    Parameters
    ----------
    tokenizer : Tokenizer
    model : str
        Name of the model in the results.
    prompt : str
        Its length is the offset of the completion's first token.
    echoes : bool
        Whether the text begins with the prompt.
    has_logprobs : bool
    """

    def __init__(self, tokenizer: Tokenizer, model: str, prompt: str, echoes: bool, has_logprobs: bool) -> None:
        self._tokenizer = tokenizer
        self._before = prompt if echoes else ""
        self._n_before = len(prompt)
        self._has_logprobs = has_logprobs
        self._head = {
            "id": f"cmpl-{uuid4()}", "object": "text_completion", "created": int(time.time()), "model": model
        }  # fmt: skip

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the response."""
        logprobs = None
        if self._has_logprobs:
            prompt = completion.prompt_logprobs or []
            sampled = [*prompt, *(completion.logprobs or [])]
            at = 0 if prompt else self._n_before
            logprobs = completion_logprobs(self._tokenizer, sampled, completion.prompt_token_ids[:1], at)
        choice = self._choice(self._before + completion.text, logprobs, openai_finish(completion.finish_reason))
        return {**self._head, "choices": [choice], "usage": _usage(completion)}

    def chunks(self, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a stream; the last one has the finish_reason."""
        at = self._n_before
        if self._before:
            yield self._chunk(self._before, None, None)
        for event, found in _pieces(events):
            logprobs = completion_logprobs(self._tokenizer, found, (), at) if found and self._has_logprobs else None
            if isinstance(event, TextEvent):
                yield self._chunk(event.text, logprobs, None)
                at += len(event.text)
            elif isinstance(event, FinishEvent) and event.completion is not None:
                yield self._chunk("", logprobs, openai_finish(event.completion.finish_reason))

    def _chunk(self, text: str, logprobs: Any, finish: str | None) -> dict[str, Any]:
        return {**self._head, "choices": [self._choice(text, logprobs, finish)]}

    def _choice(self, text: str, logprobs: Any, finish: str | None) -> dict[str, Any]:
        return {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish}


class ChatShapes:
    """The results of one call of `create_chat_completion`.

    Parameters
    ----------
    tokenizer : Tokenizer
    model : str
        Name of the model in the results.
    has_logprobs : bool
    has_functions : bool
        Whether the call gave `functions` instead of `tools`, so that the answer has a function_call, too.
    """

    def __init__(self, tokenizer: Tokenizer, model: str, has_logprobs: bool, has_functions: bool) -> None:
        self._tokenizer = tokenizer
        self._has_logprobs = has_logprobs
        self._has_functions = has_functions
        self._head = {"id": f"chatcmpl-{uuid4()}", "created": int(time.time()), "model": model}

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the response."""
        message: dict[str, Any] = {"role": "assistant", "content": completion.text}
        if completion.tool_calls:
            calls = tool_calls(completion.tool_calls)
            message |= {"content": completion.text or None, "tool_calls": calls}
            if self._has_functions:
                message["function_call"] = calls[0]["function"]
        choice = {
            "index": 0, "message": message, "logprobs": self._logprobs(completion.logprobs or []),
            "finish_reason": openai_finish(completion.finish_reason),
        }  # fmt: skip
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": _usage(completion)}

    def chunks(self, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a stream: the role, the pieces, and the finish_reason."""
        yield self._chunk({"role": "assistant"})
        for event, found in _pieces(events):
            logprobs = self._logprobs(found) if found else None
            if isinstance(event, TextEvent):
                yield self._chunk({"content": event.text}, logprobs)
            elif isinstance(event, ToolCallEvent) and event.deltas:
                calls = [{"type": "function", **tool_call_delta(delta)} for delta in event.deltas]
                for call in calls:
                    call["function"].setdefault("name", None)
                yield self._chunk({"tool_calls": calls}, logprobs)
            elif isinstance(event, FinishEvent) and event.completion is not None:
                yield self._chunk({}, logprobs, openai_finish(event.completion.finish_reason))

    def _logprobs(self, found: Sequence[TokenLogprobs]) -> dict[str, Any] | None:
        return chat_logprobs(self._tokenizer, found) if self._has_logprobs else None

    def _chunk(self, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


def embedding_response(vectors: Sequence[Any], model: str, n_tokens: int) -> dict[str, Any]:
    """Return the response of `create_embedding`."""
    data = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def as_text(value: str | int | float | bool) -> str:
    """Return a value of the metadata as llama.cpp writes it (gguf_data_to_str of src/llama-impl.cpp)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, float) else str(value)
