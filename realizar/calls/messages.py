"""Normalization of messages with tool calls for chat templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from realizar.calls.tool import ToolCall
from realizar.errors import TemplateError, short_repr
from realizar.tokenizer.messages import joined

Message = Mapping[str, Any]


def has_tool_calls(messages: Sequence[Message]) -> bool:
    """Whether any message contains tool calls; False for malformed messages."""
    return isinstance(messages, Sequence) and any(
        isinstance(message, Mapping) and message.get("tool_calls") for message in messages
    )


def normalize_tool_calls(
    messages: Sequence[Message], as_text: bool = False, no_content: str | None = None
) -> Sequence[Message]:
    """Return messages with their tool calls (`ToolCall` objects or OpenAI dicts) in the style a template expects.

    An empty "tool_calls" is removed: Llama's templates test for the key, not for its value.

    Parameters
    ----------
    messages : sequence of mapping
    as_text : bool
        Pass the arguments as JSON text instead of objects.
    no_content : str or None
        Content of an assistant message without text.

    Raises
    ------
    TemplateError
        A call is malformed.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        return messages  # rendering raises the error
    return [_normalize(f"messages[{i}]", message, as_text, no_content) for i, message in enumerate(messages)]


def read_call(call: Mapping[str, Any]) -> ToolCall:
    """Return a call of a normalized message, with its arguments as an object."""
    function = call["function"]
    arguments = function["arguments"]
    return ToolCall(str(call.get("id", "")), function["name"], dict(arguments))


def with_instructions(messages: Sequence[Message], text: str) -> Sequence[Message]:
    """Return messages with a text at the end of the system message, which is added if there is none."""
    first = messages[0] if messages else None
    if isinstance(first, Mapping) and first.get("role") == "system":
        return [{**first, "content": f"{joined(first['content'])}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _normalize(where: str, message: Message, as_text: bool, no_content: str | None) -> Message:
    if not isinstance(message, Mapping) or "tool_calls" not in message:
        return message
    calls = message["tool_calls"]
    if not calls:
        return {key: value for key, value in message.items() if key != "tool_calls"}
    if isinstance(calls, (str, bytes)) or not isinstance(calls, Sequence):
        raise TemplateError(f'{where}: "tool_calls" must be a list, found {short_repr(calls)}')
    normalized = [_call(f"{where}, call {i}", call, as_text) for i, call in enumerate(calls)]
    return {**message, "content": message.get("content") or no_content, "tool_calls": normalized}


def _call(where: str, call: Any, as_text: bool) -> dict[str, Any]:
    if isinstance(call, ToolCall):
        call = call.as_message()
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise TemplateError(
            f'{where}: must be {{"function": {{"name": ..., "arguments": ...}}}}, found {short_repr(call)}'
        )
    arguments = function.get("arguments", {})
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"{where}: the arguments of {function['name']} are not valid JSON: {error}") from None
    if not isinstance(parsed, Mapping):
        raise TemplateError(
            f"{where}: the arguments of {function['name']} must be an object, found {short_repr(arguments)}"
        )
    normalized = json.dumps(parsed, ensure_ascii=False) if as_text else parsed
    return {**call, "function": {**function, "arguments": normalized}}
