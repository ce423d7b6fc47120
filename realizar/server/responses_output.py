"""Output: the items of a response while they are written, and the events that tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from realizar.server.openai_shapes import chat_logprobs, new_id

if TYPE_CHECKING:
    from realizar.calls import ToolCallDelta
    from realizar.server.answers import Piece
    from realizar.tokenizer import Tokenizer

Event = dict[str, Any]
_PARTS = {"message": "output_text", "reasoning": "reasoning_text"}


class Output:
    """The items of one response: reasoning, a message, calls; one after another.

    Parameters
    ----------
    tokenizer : Tokenizer
    has_logprobs : bool
        Whether parts of text have logprobs.

    Attributes
    ----------
    items : list of dict
        The items so far; the last one may be in progress.
    """

    def __init__(self, tokenizer: Tokenizer, has_logprobs: bool) -> None:
        self._tokenizer = tokenizer
        self._has_logprobs = has_logprobs
        self.items: list[dict[str, Any]] = []
        self._open: str | int | None = None  # type of the open item, or number of its call
        self._text = ""
        self._logprobs: list[Any] = []

    def add(self, piece: Piece) -> Iterator[Event]:
        """Take a piece; yield its events."""
        if piece.reasoning:
            yield from self._begin_text("reasoning", {"type": "reasoning", "summary": [], "content": []})
            yield self._delta("reasoning_text", piece.reasoning)
        logprobs = chat_logprobs(self._tokenizer, piece.logprobs)["content"] if self._has_logprobs else []
        if piece.text:
            item = {"type": "message", "role": "assistant", "content": []}
            yield from self._begin_text("message", item)
            self._logprobs += logprobs
            yield {**self._delta("output_text", piece.text), "logprobs": logprobs}
        for call in piece.calls:
            yield from self._call(call)

    def _call(self, call: ToolCallDelta) -> Iterator[Event]:
        if self._open != call.number:
            item = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": ""}
            yield from self._begin(call.number, item)
        if call.arguments:
            self._text += call.arguments
            yield {**self._place("response.function_call_arguments.delta"), "delta": call.arguments}

    def _begin(self, kind: str | int, item: dict[str, Any]) -> Iterator[Event]:
        yield from self.end("completed")
        self._open, self._text, self._logprobs = kind, "", []
        prefix = {"message": "msg_", "reasoning": "rs_"}.get(str(kind), "fc_")
        self.items.append({"id": new_id(prefix), "status": "in_progress", **item})
        added = {"type": "response.output_item.added", "output_index": len(self.items) - 1}
        yield {**added, "item": dict(self.items[-1])}

    def _begin_text(self, kind: str, item: dict[str, Any]) -> Iterator[Event]:
        if self._open != kind:
            yield from self._begin(kind, item)
            yield {**self._place("response.content_part.added"), "content_index": 0, "part": self._part(kind)}

    def _part(self, kind: str) -> dict[str, Any]:
        part: dict[str, Any] = {"type": _PARTS[kind], "text": self._text}
        return {**part, "annotations": [], "logprobs": list(self._logprobs)} if kind == "message" else part

    def _delta(self, part: str, text: str) -> Event:
        self._text += text
        return {**self._place(f"response.{part}.delta"), "content_index": 0, "delta": text}

    def _place(self, kind: str) -> Event:
        return {"type": kind, "item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def end(self, status: str) -> Iterator[Event]:
        """End the open item, if there is one, with a status: "completed" or "incomplete"."""
        kind, item = self._open, self.items[-1] if self.items else {}
        if kind is None:
            return
        self._open = None
        if isinstance(kind, str):
            part = self._part(kind)
            item["content"] = [part]
            done = {**self._place(f"response.{_PARTS[kind]}.done"), "content_index": 0, "text": self._text}
            yield {**done, "logprobs": list(self._logprobs)} if kind == "message" else done
            yield {**self._place("response.content_part.done"), "content_index": 0, "part": part}
        else:
            item["arguments"] = self._text
            done = self._place("response.function_call_arguments.done")
            yield {**done, "name": item["name"], "arguments": self._text}
        item["status"] = status
        yield {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": dict(item)}
