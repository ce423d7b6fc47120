"""Functionary v3.2: messages begin with ">>>" and a recipient, "all" for text or the name of a tool."""

from __future__ import annotations

import re
from collections.abc import Sequence

from realizar.calls.chat_format import ChatFormat
from realizar.calls.finder import AtStart, Either, Finder, Marked
from realizar.calls.notation import Rules
from realizar.calls.tool_format import Cleaner, ToolCallFormat
from realizar.sampling.grammar.patterns import literal

_ALL = "all\n"


class _TextCleaner(Cleaner):
    """Omits the recipient at the beginning of a text."""

    def __init__(self) -> None:
        super().__init__()
        self._find = AtStart([_ALL])

    def push(self, text: str) -> str:
        """See `Cleaner`."""
        passed, begun = self._find.push(text)
        return passed + begun[len(_ALL) :]

    def flush(self) -> str:
        """See `Cleaner`."""
        return self._find.flush()


class FunctionaryFormat(ToolCallFormat):
    """The prompt ends with the first ">>>"."""

    def patterns(self, names: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str] | None, re.Pattern[str]]:
        """See `ToolCallFormat`."""
        head = f"(?P<name>{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})\n"
        following = None if self.between is None else re.compile(">>>" + head)
        return re.compile("(?:>>>)?" + head), following, re.compile("")

    def finder(self, names: Sequence[str]) -> Finder:
        """See `ToolCallFormat`."""
        return Either(AtStart([f"{name}\n" for name in names]), Marked([f">>>{name}\n" for name in names]))

    def cleaner(self) -> Cleaner:
        """See `ToolCallFormat`."""
        return _TextCleaner()

    def text_rules(self, rules: Rules, names: Sequence[str]) -> str:
        """See `ToolCallFormat`."""
        rules.rule("opening", '""')
        calls = "|".join(map(literal, names))
        rules.terminal("text", f"/all\\n(?s:.*)/ & ~/(?s:.*)>>>({calls})\\n(?s:.*)/")
        rules.rule("text", "TEXT")
        first = []
        for i, name in enumerate(names):
            marked = rules.rule(f"marked_{i}", f"/all\\n(?s:.*)>>>{literal(name)}\\n/", lazy=True)
            first.append(f"{marked} arguments_{i}")
        return f"({' | '.join(['call', *first])})"


FORMAT = ChatFormat(
    "functionary",
    contains=(">>>all", ">>>${recipient}"),
    calls=FunctionaryFormat("", "\n", ">>>", "", headers=(_ALL,)),
)
