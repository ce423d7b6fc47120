"""Anthropic's requests: their conversations, tools and choices, and what they are in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import Samplers
from realizar.server.pictures import anthropic_picture

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class CountRequest(Samplers):  # type: ignore[misc, valid-type]
    """The body of POST /v1/messages/count_tokens."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    model: str | None = None
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def effort(self) -> str:
        """How much the model is to reason: not at all unless it is asked to."""
        if (self.thinking or {}).get("type", "disabled") == "disabled":
            return "none"
        effort = (self.output_config or {}).get("effort")
        return effort if isinstance(effort, str) else "medium"

    @property
    def response_format(self) -> dict[str, Any] | None:
        """The form of the answer, as in OpenAI's API."""
        wanted = (self.output_config or {}).get("format")
        return wanted if isinstance(wanted, dict) else None


class MessagesRequest(CountRequest):
    """The body of POST /v1/messages; the samplers of SamplingParams are fields, too."""

    max_tokens: int = Field(ge=1)
    stop_sequences: list[str] | None = None
    stream: bool = False


def _invalid(where: str, text: str) -> ApiError:
    return ApiError(400, f"{where}: {text}", "invalid_value", where)


def openai_messages(body: CountRequest) -> list[dict[str, Any]]:
    """Return a conversation as OpenAI has it.

    Raises
    ------
    ApiError
        400 if a message or a block is malformed or of an unsupported type.
    """
    messages: list[dict[str, Any]] = []
    if body.system:
        messages.append({"role": "system", "content": _text("system", body.system)})
    names: dict[str, str] = {}  # id of a call -> tool
    for i, message in enumerate(body.messages):
        where, role, content = f"messages[{i}]", message.get("role"), message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            raise _invalid(where, "content must be a text or a list of blocks")
        if role == "assistant":
            messages.append(_assistant(where, blocks, names))
        elif role == "user":
            messages += _user(where, blocks, names)
        elif role == "system":
            messages.append({"role": "system", "content": _text(where, blocks)})
        else:
            raise _invalid(where, f"role must be user or assistant, found {str(role)[:80]!r}")
    return messages


def _text(where: str, content: Any) -> str:
    """Return the text of blocks that may only be text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _invalid(where, f"a content must be a text or a list of blocks, found {str(content)[:80]}")
    return "\n".join(_text_of(where, block) for block in content)


def _text_of(where: str, block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    text = block.get("text") if kind == "text" else None
    if not isinstance(text, str):
        known = "text is, and in messages image"
        raise _invalid(where, f"a block of type {str(kind)[:80]!r} is not supported here; {known}")
    return text


def _assistant(where: str, blocks: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for block in blocks:
        kind = block.get("type")
        if kind == "thinking":
            thoughts.append(str(block.get("thinking", "")))
        elif kind == "tool_use":
            name, call_id = block.get("name"), str(block.get("id", ""))
            if not isinstance(name, str):
                raise _invalid(where, "a tool_use must have a name")
            names[call_id] = name
            arguments = json.dumps(block.get("input", {}))
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        elif kind != "redacted_thinking":
            texts.append(_text_of(where, block))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return {**message, "tool_calls": calls} if calls else message


def _user(where: str, blocks: list[dict[str, Any]], names: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the results of tools, then what the user says."""
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "image":
            parts.append(anthropic_picture(where, block))
            continue
        if block.get("type") != "tool_result":
            parts.append({"type": "text", "text": _text_of(where, block)})
            continue
        call_id = str(block.get("tool_use_id", ""))
        result = {"role": "tool", "tool_call_id": call_id, "content": _text(where, block.get("content") or "")}
        yield {**result, "name": names[call_id]} if call_id in names else result
    if all(part["type"] == "text" for part in parts):
        if parts:
            yield {"role": "user", "content": "\n".join(part["text"] for part in parts)}
    else:
        yield {"role": "user", "content": parts}


def openai_tools(tools: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return tools as OpenAI has them.

    Raises
    ------
    ApiError
        400 if one is a tool that Anthropic's servers would run.
    """
    found = []
    for i, tool in enumerate(tools or ()):
        kind = tool.get("type")
        if kind not in (None, "custom"):
            raise _invalid(f"tools[{i}]", f"type {str(kind)[:80]!r} is not supported: this server runs no tools")
        function = {"name": tool.get("name"), "parameters": tool.get("input_schema")}
        if tool.get("description"):
            function["description"] = tool["description"]
        found.append({"type": "function", "function": function})
    return found


def openai_choice(choice: dict[str, Any] | None) -> tuple[Any, bool]:
    """Return the choice of tools as OpenAI has it, and whether several calls are allowed.

    Raises
    ------
    ApiError
        400 if it is unknown.
    """
    if choice is None:
        return "auto", True
    parallel = choice.get("disable_parallel_tool_use") is not True
    kind = choice.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}, parallel
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise _invalid("tool_choice", f"type must be auto, any, tool or none, found {str(kind)[:80]!r}")
    return _CHOICES[kind], parallel
