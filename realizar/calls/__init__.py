"""Conversations: their prompts, the reasoning of the answers, and the tools that they may call.

    chat template ── model_format.py ──▶ ToolCallFormat ──┬─▶ grammar.py   grammar of the completion
      probe.py       learned from it                      │
      formats/       or declared            Notation ─────┤   how arguments are written: notation.py (JSON), tags.py,
    tools ────────── tool.py ──────────▶ Tool ────────────┤   python_notation.py, ...
                                                          └─▶ parser.py    streaming parser: text and ToolCalls
                                                              delta.py     the calls, while they are written

`tool_use.py` combines them for one completion. `messages.py` normalizes the tool calls of earlier messages for chat
templates, `prompts.py` renders conversations to prompts, and `hf_tokenizer.py` offers that as transformers does.

    chat template ── reasoning_style.py ──▶ ReasoningStyle ──▶ reasoning.py   reasoning, separated from the answer
"""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.delta import ToolCallDelta
from realizar.calls.hf_tokenizer import HFTokenizer
from realizar.calls.notation import ArgumentsReader, JsonNotation, Notation, Rules
from realizar.calls.parser import ToolCallParser
from realizar.calls.prompts import ChatOptions, ChatPrompt, ChatPrompts, ChatText
from realizar.calls.python_notation import PythonNotation
from realizar.calls.reasoning import Reasoning, ReasoningFormat
from realizar.calls.tags import TagNotation
from realizar.calls.tool import Tool, ToolCall
from realizar.calls.tool_format import ToolCallFormat
from realizar.calls.tool_use import ToolUse

__all__ = [
    "ArgumentsReader", "ChatFormat", "ChatOptions", "ChatPrompt", "ChatPrompts", "ChatText", "HFTokenizer",
    "JsonNotation", "Notation", "PythonNotation", "Reasoning", "ReasoningFormat", "Rules", "TagNotation", "Tool",
    "ToolCall", "ToolCallDelta", "ToolCallFormat", "ToolCallParser", "ToolUse",
]  # fmt: skip
