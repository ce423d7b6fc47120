"""DeepSeek V3.1: its template writes calls but has no section for tools; the text that describes them is that of the
model card (https://huggingface.co/deepseek-ai/DeepSeek-V3.1)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tool_format import ToolCallFormat


def _tag(words: str) -> str:
    return f"<\uff5c{words.replace(' ', chr(0x2581))}\uff5c>"


CALLS = ToolCallFormat(
    _tag("tool calls begin") + _tag("tool call begin"),
    _tag("tool sep"),
    _tag("tool call end") + _tag("tool call begin"),
    _tag("tool call end") + _tag("tool calls end"),
)

_RULES = f"""
IMPORTANT: ALWAYS adhere to this exact format for tool use:
{CALLS.opening}tool_call_name{CALLS.middle}tool_call_arguments{_tag("tool call end")}{{{{additional_tool_calls}}}}\
{_tag("tool calls end")}

Where:

- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""


def describe(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return the section for tools of a system message."""
    text = "## Tools\nYou have access to the following tools:\n"
    for tool in tools:
        function = tool["function"]
        parameters = json.dumps(function.get("parameters") or {}, ensure_ascii=False)
        text += (
            f"\n### {function['name']}\nDescription: {function.get('description') or ''}\n\nParameters: {parameters}\n"
        )
    return text + _RULES


FORMAT = ChatFormat(
    "deepseek_v3_1",
    contains=(_tag("tool call begin"), _tag("tool sep")),
    calls=CALLS,
    describe=describe,
)
