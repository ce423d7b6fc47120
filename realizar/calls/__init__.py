"""Tool calling: the tools offered to a model, the format in which it calls them, and parsing of its completions.

    chat template ── tool_format.py ──▶ ToolCallFormat ──┬─▶ grammar.py   grammar of the completion
    tools ────────── tool.py ─────────▶ Tool ────────────┤
                                                         └─▶ parser.py    streaming parser: text and ToolCalls
                                                             delta.py     pieces of calls, while they are written

`tool_use.py` combines them for one completion. `messages.py` normalizes the tool calls of earlier messages for chat
templates, `prompts.py` renders conversations to prompts, and `hf_tokenizer.py` offers that as transformers does.
"""

from realizar.calls.delta import ToolCallDelta
from realizar.calls.hf_tokenizer import HFTokenizer
from realizar.calls.parser import ToolCallParser
from realizar.calls.prompts import ChatPrompt, ChatPrompts, ChatText
from realizar.calls.tool import ToolCall
from realizar.calls.tool_format import ToolCallFormat
from realizar.calls.tool_use import ToolUse

__all__ = [
    "ChatPrompt", "ChatPrompts", "ChatText", "HFTokenizer", "ToolCall", "ToolCallDelta", "ToolCallFormat",
    "ToolCallParser", "ToolUse",
]  # fmt: skip
