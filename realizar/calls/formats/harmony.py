"""Harmony (gpt-oss): messages in channels, analysis, commentary and final; a call is one to a recipient functions.NAME.

The format: https://cookbook.openai.com/articles/openai-harmony. Models write the recipient after the channel, and the
template before it; both are calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from realizar.calls.chat_format import ChatFormat
from realizar.calls.finder import AtStart, Either, Finder, Marked
from realizar.calls.notation import JsonNotation, Rules
from realizar.calls.tool_format import ToolCallFormat

_TO = " to=functions."
_ROLE = "<|start|>assistant"
_NEXT = "<|end|>" + _ROLE
_COMMENTARY, _FINAL = "<|channel|>commentary<|message|>", "<|channel|>final<|message|>"


class HarmonyFormat(ToolCallFormat):
    """The prompt ends with the role, and a call ends the completion."""

    def patterns(self, names: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str] | None, re.Pattern[str]]:
        """See `ToolCallFormat`."""
        known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        channel = r"(?:<\|channel\|>(?:commentary|analysis))?"
        before = rf"(?:<\|end\|>)?(?:<\|start\|>assistant)?{channel} ?to=functions\.(?P<name>{known})"
        return re.compile(rf"{before}{channel} ?(?:<\|constrain\|>)?\w*<\|message\|>"), None, re.compile("")

    def finder(self, names: Sequence[str]) -> Finder:
        """See `ToolCallFormat`."""
        if not names:
            return Marked(())
        marked = [f"<|channel|>{channel}{_TO}" for channel in ("commentary", "analysis")] + [_ROLE + _TO, _NEXT + _TO]
        return Either(AtStart([_TO.strip()]), Marked(marked))

    def text_rules(self, rules: Rules, names: Sequence[str]) -> str:
        """See `ToolCallFormat`."""
        rules.terminal("any", "/(?s:.*)/")
        # After reasoning, the message has its role.
        said = f"({rules.literal(_COMMENTARY)} ANY {rules.literal(_NEXT)})*"
        rules.rule("opening", f"({rules.literal(_ROLE)})? {said}")
        rules.rule("text", f"opening {rules.literal(_FINAL)} ANY")
        return "opening call"

    def call(self, name: str, arguments: str, rules: Rules) -> str:
        """See `ToolCallFormat`."""
        kind = f"(({rules.literal(' <|constrain|>json')}) | ({rules.literal(' json')}))?"
        after = f"{rules.literal('<|channel|>commentary' + _TO + name)} {kind}"
        before = f"{rules.literal(_TO + name + '<|channel|>commentary')} {kind}"
        return f"({after} | {before}) {rules.literal('<|message|>')} {arguments}"


FORMAT = ChatFormat(
    "harmony",
    contains=("<|channel|>", "<|message|>", "functions."),
    calls=HarmonyFormat(
        _TO, "<|channel|>commentary json<|message|>", None, "", JsonNotation(has_free_space=True),
        headers=(_FINAL, _COMMENTARY, _ROLE, _NEXT, "<|constrain|>"),
    ),
)  # fmt: skip
