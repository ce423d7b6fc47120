"""Tool calling: the tools offered to a model, the format in which it calls them, and parsing of its completions.

    chat template ── model_format.py ──▶ ToolCallFormat ──┬─▶ grammar.py   grammar of the completion
      probe.py       learned from it                      │
      formats/       or declared            Notation ─────┤   how arguments are written: notation.py (JSON), tags.py,
    tools ────────── tool.py ──────────▶ Tool ────────────┤   python_notation.py, ...
                                                          └─▶ parser.py    streaming parser: text and ToolCalls
                                                              delta.py     the calls, while they are written

`tool_use.py` combines them for one completion. `messages.py` normalizes the tool calls of earlier messages for chat
templates, and `prompts.py` renders conversations to prompts.
"""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.delta import ToolCallDelta
from realizar.calls.notation import ArgumentsReader, JsonNotation, Notation, Rules
from realizar.calls.parser import ToolCallParser
from realizar.calls.prompts import ChatPrompt, ChatPrompts
from realizar.calls.python_notation import PythonNotation
from realizar.calls.reasoning import ReasoningFormat
from realizar.calls.tags import TagNotation
from realizar.calls.tool import Tool, ToolCall
from realizar.calls.tool_format import ToolCallFormat
from realizar.calls.tool_use import ToolUse

__all__ = [
    "ArgumentsReader", "ChatFormat", "ChatPrompt", "ChatPrompts", "JsonNotation", "Notation", "PythonNotation",
    "ReasoningFormat", "Rules", "TagNotation", "Tool", "ToolCall", "ToolCallDelta", "ToolCallFormat", "ToolCallParser",
    "ToolUse",
]  # fmt: skip
