"""Granite 3.3: a list of calls after <|tool_call|>, which the template does not write itself."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tool_format import ToolCallFormat

FORMAT = ChatFormat(
    "granite",
    contains=("<|tool_call|>", "available_tools"),
    calls=ToolCallFormat('<|tool_call|>[{"name": "', '", "arguments": ', '}, {"name": "', "}]"),
    writes_calls=True,
)
