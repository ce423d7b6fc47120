"""The bodies of OpenAI's Responses API, and the conversations of chat completions that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import Body, Samplers
from realizar.server.pictures import picture_part

_TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
_ITEM_FIELDS = frozenset(
    {"id", "type", "role", "status", "content", "summary", "call_id", "name", "arguments", "output"}
)
_PART_FIELDS = frozenset({"type", "text", "refusal", "image_url", "input_audio"})
_MEDIA = ("input_image", "input_audio")
MAX_ITEMS = 10_000
"""Items of a conversation, the earlier ones included."""
Item = dict[str, Any]


class Reasoning(Body):
    """How much the model is to reason."""

    effort: str | None = None


class TextForm(Body):
    """The form of the answer."""

    format: dict[str, Any] | None = None


class InputRequest(Samplers):  # type: ignore[misc, valid-type]
    """The body of POST /v1/responses/input_tokens."""

    input: str | list[Item] = Field(min_length=1)
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: TextForm | None = None
    truncation: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def items(self) -> list[Item]:
        """The new items of the conversation."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return self.input


class ResponseRequest(InputRequest):
    """The body of POST /v1/responses; the samplers of SamplingParams are fields, too."""

    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    include: list[str] | None = None
    metadata: dict[str, str] | None = None


def known_item(item: Item) -> Item:
    """Return an item without fields that nothing here reads: it is kept."""
    known = {name: value for name, value in item.items() if name in _ITEM_FIELDS}
    for name in ("content", "summary", "output"):
        if isinstance(item.get(name), list):
            known[name] = [_known_part(part) for part in item[name]]
        elif isinstance(item.get(name), dict):
            known[name] = _known_part(item[name])
    return known


def _known_part(part: Any) -> Any:
    return {name: part[name] for name in part if name in _PART_FIELDS} if isinstance(part, dict) else part


def _invalid(where: str, text: str) -> ApiError:
    return ApiError(400, f"{where}: {text}", "invalid_value", where)


def chat_messages(instructions: str | None, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return the messages of a conversation of items.

    Raises
    ------
    ApiError
        400 if an item is malformed or of an unsupported type.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    thoughts = ""
    for i, item in enumerate(items):
        where, kind = f"input[{i}]", item.get("type", "message")
        if kind == "reasoning":
            thoughts = _text(where, item.get("content") or item.get("summary") or "")
        elif kind == "function_call":
            call = {"id": item.get("call_id"), "type": "function"}
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            _assistant(messages, thoughts)["tool_calls"].append({**call, "function": function})
            thoughts = ""
        elif kind == "function_call_output":
            text = _text(where, item.get("output") or "")
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": text})
        elif kind == "message":
            message = {"role": item.get("role"), "content": _content(where, item.get("content") or "")}
            if thoughts and message["role"] == "assistant":
                message["reasoning_content"], thoughts = thoughts, ""
            messages.append(message)
        else:
            raise _invalid(where, f"an item of type {str(kind)[:80]!r} is not supported")
    return messages


def _assistant(messages: list[dict[str, Any]], thoughts: str) -> dict[str, Any]:
    """Return the assistant's message that a call belongs to, with a list of calls; a new one if none is last."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    if thoughts:
        messages[-1].setdefault("reasoning_content", thoughts)
    messages[-1].setdefault("tool_calls", [])
    return messages[-1]


def _content(where: str, content: Any) -> Any:
    """Return the content of a message: a text, or parts if some are pictures or sounds."""
    parts = content if isinstance(content, list) else []
    if not any(isinstance(part, dict) and part.get("type") in _MEDIA for part in parts):
        return _text(where, content)
    out = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "input_image":
            out.append(picture_part(str(part.get("image_url"))))
        elif kind == "input_audio":
            out.append({"type": kind, "input_audio": part.get("input_audio")})
        else:
            out += [{"type": "text", "text": text} for text in _text_parts(where, [part])]
    return out


def _text(where: str, content: Any) -> str:
    """Return the text of a content: a text, or parts."""
    if isinstance(content, str):
        return content
    return "\n".join(_text_parts(where, content if isinstance(content, list) else [content]))


def _text_parts(where: str, parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
        if kind not in (*_TEXTS, "refusal") or not isinstance(text, str):
            known = "text is, and in messages input_image and input_audio"
            raise _invalid(where, f"a part of type {str(kind)[:80]!r} is not supported here; {known}")
        yield text


def chat_tools(tools: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return tools as chat completions have them.

    Raises
    ------
    ApiError
        400 if one is a tool that OpenAI's servers would run.
    """
    found = []
    for i, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            kind = str(tool.get("type"))[:80]
            raise _invalid(f"tools[{i}]", f"type {kind!r} is not supported: this server runs no tools")
        function = {key: value for key, value in tool.items() if key != "type" and value is not None}
        found.append({"type": "function", "function": function})
    return found


def chat_choice(choice: Any) -> Any:
    """Return the choice of tools as chat completions have it."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        if isinstance(tools, list):
            tools = [_chat_function(tool) for tool in tools]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    return _chat_function(choice) or "auto"


def _chat_function(chosen: Any) -> Any:
    if isinstance(chosen, dict) and chosen.get("type") == "function" and "name" in chosen:
        return {"type": "function", "function": {"name": chosen["name"]}}
    return chosen
