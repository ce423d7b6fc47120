"""SmolLM3: the calls of Hermes; the template gets the tools in another variable and does not write calls itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tool_format import ToolCallFormat


def _variables(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"xml_tools": [tool["function"] for tool in tools]}


FORMAT = ChatFormat(
    "smollm3",
    contains=("xml_tools", "<tool_call>"),
    calls=ToolCallFormat(
        '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
    ),
    writes_calls=True,
    variables=_variables,
)
