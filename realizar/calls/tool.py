"""Tool and ToolCall: a function that a model may call, and a call of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from realizar.errors import ParameterError, short_repr
from realizar.sampling.grammar.positions import positions

NAME = r"[A-Za-z0-9_.:/-]{1,64}"
"""Valid names: the characters of OpenAI and MCP; none needs escaping in JSON."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call.

    Attributes
    ----------
    name : str
    parameters : dict
        JSON schema of the arguments object; null is allowed where it was "nullable".
    """

    name: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A call that a model made.

    Attributes
    ----------
    id : str
        Nine letters and digits; the message with the result refers to it.
    name : str
        Name of the tool.
    arguments : dict
        Valid by the tool's schema.
    """

    id: str
    name: str
    arguments: dict[str, Any]

    def as_message(self) -> dict[str, Any]:
        """Return the call as an item of a message's "tool_calls"."""
        arguments = json.dumps(self.arguments, ensure_ascii=False)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


def read_tools(tools: Sequence[Mapping[str, Any]]) -> list[Tool]:
    """Parse a list of tools in OpenAI's format.

    Parameters
    ----------
    tools : sequence of mapping
        {"type": "function", "function": {"name": ..., "description": ..., "parameters": JSON schema}}

    Raises
    ------
    ParameterError
        An item is malformed, or two tools have the same name.
    """
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Sequence) or not tools:
        raise ParameterError(f"tools={short_repr(tools)}: must be a non-empty list of tools")
    found = {tool.name: tool for tool in (_tool(f"tools[{i}]", tool) for i, tool in enumerate(tools))}
    if len(found) < len(tools):
        raise ParameterError("tools: two have the same name; names must be unique")
    return list(found.values())


def _tool(where: str, tool: object) -> Tool:
    function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
    if not isinstance(function, Mapping):
        raise ParameterError(f'{where}={short_repr(tool)}: must be {{"type": "function", "function": {{"name": ...}}}}')
    name = function.get("name")
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ParameterError(f"{where}: name {short_repr(name)}: must be 1 to 64 letters, digits or _ - . : /")
    schema = function.get("parameters") or {}
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise ParameterError(
            f'{where} ({name}): parameters={short_repr(schema)}: must be a JSON schema with {{"type": "object"}}'
        )
    return Tool(name, _with_null({"properties": {}, **schema, "type": "object"}))


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that allows null where it has `"nullable": true`.

    OpenAPI 3.0 has this keyword, JSON Schema does not; `get_json_schema` of transformers 5.24.0 writes an Optional
    argument with it (findings/transformers-nullable.sh).
    """
    try:
        changed = deepcopy(schema)
    except (RecursionError, TypeError):  # too deep, or no JSON: the constraint says so
        return schema
    for _, part in positions(changed):
        types = part.get("type")
        if part.get("nullable") is True and isinstance(types, (str, list)):
            part["type"] = [*([types] if isinstance(types, str) else types), "null"]
            if isinstance(part.get("enum"), list) and None not in part["enum"]:
                part["enum"].append(None)
    return changed


def choose(tools: Sequence[Tool], choice: object) -> tuple[Sequence[Tool], str]:
    """Return the tools that a tool_choice allows, and the mode: "auto", "none", "required" or "one".

    Raises
    ------
    ParameterError
        The choice is invalid, or names a tool that does not exist.
    """
    if isinstance(choice, str) and choice in ("auto", "none", "required"):
        return tools, choice
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        return _allowed(tools, choice.get("allowed_tools"))
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    if not isinstance(function, Mapping):
        raise ParameterError(
            f"tool_choice={short_repr(choice)}: must be 'auto', 'none', 'required', "
            "{'type': 'function', 'function': {'name': ...}} or {'type': 'allowed_tools', 'allowed_tools': ...}"
        )
    chosen = [tool for tool in tools if tool.name == function.get("name")]
    if not chosen:
        raise ParameterError(f"tool_choice: there is no tool {short_repr(function.get('name'))} in tools")
    return chosen, "one"


def _allowed(tools: Sequence[Tool], allowed: object) -> tuple[Sequence[Tool], str]:
    """Return the tools that OpenAI's "allowed_tools" leave, in their own order, and the mode."""
    if not isinstance(allowed, Mapping):
        raise _wrong("", allowed, "an object with mode and tools")
    mode, listed = allowed.get("mode"), allowed.get("tools")
    if not isinstance(mode, str) or mode not in ("auto", "required"):
        raise _wrong(".mode", mode, "'auto' or 'required'")
    if not isinstance(listed, list | tuple) or not listed:
        raise _wrong(".tools", listed, "a list of at least one {'type': 'function', 'function': {'name': ...}}")
    names = {_allowed_name(tools, tool, f".tools[{i}]") for i, tool in enumerate(listed)}
    return [tool for tool in tools if tool.name in names], mode


def _allowed_name(tools: Sequence[Tool], allowed: object, where: str) -> str:
    """Return the name of an allowed tool, which is one of `tools`."""
    function = allowed.get("function") if isinstance(allowed, Mapping) and allowed.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise _wrong(where, allowed, "{'type': 'function', 'function': {'name': ...}}")
    known = [tool.name for tool in tools]
    if name not in known:
        raise _wrong(where, name, f"the name of one of the tools: {', '.join(known) or 'there are none'}")
    return name


def _wrong(where: str, found: object, expected: str) -> ParameterError:
    return ParameterError(f"tool_choice: allowed_tools{where}={short_repr(found)}: must be {expected}")
