"""Calls of tools: what a model may call, how it writes that, and what of an answer is a call.

    chat template ── form.py ──▶ CallForm ──┬─▶ grammar.py   the texts that an answer may be
    tools ────────── tool.py ──▶ Tool ──────┤
                                            └─▶ reader.py    text and ToolCall, piece by piece

`use.py` puts them together for one answer; `messages.py` makes templates understand earlier calls, and `prompts.py`
makes the prompts of conversations.
"""

from realizar.calls.form import CallForm
from realizar.calls.prompts import ChatPrompts
from realizar.calls.reader import CallReader
from realizar.calls.tool import ToolCall
from realizar.calls.use import ToolUse

__all__ = ["CallForm", "CallReader", "ChatPrompts", "ToolCall", "ToolUse"]
