"""Muse Glimmer: each call is a message to the tool, with <atem:invoke name="NAME"> and an element for each argument."""

from __future__ import annotations

import re
from collections.abc import Sequence

from realizar.calls.chat_format import ChatFormat
from realizar.calls.finder import AtStart, Either, Finder, Marked
from realizar.calls.notation import Rules
from realizar.calls.tags import TagNotation
from realizar.calls.tool_format import ToolCallFormat

_TO = " to="
_TO_USER = " to=user<|message|>"
_ROLE = "<|start|>assistant"
_NEXT = "<|eom|>" + _ROLE
_INVOKE = '<|message|><atem:function_calls>\n<atem:invoke name="'
_CLOSING = "</atem:invoke>\n</atem:function_calls>"


class GlimmerFormat(ToolCallFormat):
    """The prompt ends with the role; a message names its recipient, and a call also the tool."""

    def patterns(self, names: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str] | None, re.Pattern[str]]:
        """See `ToolCallFormat`."""
        known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        head = rf"(?:{re.escape(_ROLE)})? ?to=(?P<name>{known}){re.escape(_INVOKE)}(?P=name)\">\n"
        following = None if self.between is None else re.compile(rf"{re.escape(_CLOSING)}\s*<\|eom\|>{head}")
        return re.compile(rf"(?:<\|eom\|>)?{head}"), following, re.compile(re.escape(_CLOSING))

    def finder(self, names: Sequence[str]) -> Finder:
        """See `ToolCallFormat`."""
        heads = [f"{_TO}{name}<|message|>" for name in names]
        return Either(AtStart([head.strip() for head in heads]), Marked([_NEXT + head for head in heads]))

    def text_rules(self, rules: Rules, names: Sequence[str]) -> str:
        """See `ToolCallFormat`."""
        rules.terminal("any", "/(?s:.*)/")
        # After reasoning, the message has its role.
        said = f"({rules.literal(_TO_USER)} ANY {rules.literal(_NEXT)})*"
        rules.rule("opening", f"({rules.literal(_ROLE)})? {said}")
        rules.rule("text", f"opening {rules.literal(_TO_USER)} ANY")
        return "opening call"

    def call(self, name: str, arguments: str, rules: Rules) -> str:
        """See `ToolCallFormat`."""
        head = rules.literal(_TO + name + _INVOKE + name + '">\n')
        return f"{head} {arguments}"


FORMAT = ChatFormat(
    "muse_glimmer",
    contains=("<atem:function_calls>", "<atem:invoke name=", "<|eom|>"),
    calls=GlimmerFormat(
        _TO, _INVOKE, _CLOSING + _NEXT, _CLOSING,
        TagNotation('<atem:parameter name="{key}">{value}</atem:parameter>\n'),
        headers=(_TO_USER, _NEXT, _ROLE),
    ),
)  # fmt: skip
