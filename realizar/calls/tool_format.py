"""ToolCallFormat: how a model writes tool calls: the texts around names and arguments, and the arguments themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realizar.calls.finder import AtStart, Finder, Marked
from realizar.calls.notation import JsonNotation, Notation, Rules
from realizar.sampling import StopFilter
from realizar.sampling.grammar.patterns import literal

if TYPE_CHECKING:
    from realizar.calls.tool import ToolCall

ID_OF_NEXT, ID_OF_PREVIOUS, NUMBER = "\x00", "\x01", "\x02"
"""Placeholders in a format's texts: the id of the call whose name follows, that of the call whose arguments precede,
and the number of the call."""
OPTIONAL_ID = f', "id": "{ID_OF_PREVIOUS}"'
"""Mistral's templates render ids in earlier calls. Nemo generates them itself, 7B v0.3 does not."""

# A marker at the beginning of a format that distinguishes calls from text: <tool_call>, <function=, [TOOL_CALLS]
_MARKER = re.compile(r"<[^<>/\s{][^<>\s{]*>?|\[[^\[\]\s\"{]+\]")
_PLACEHOLDER = re.compile(f"({re.escape(OPTIONAL_ID)}|{ID_OF_NEXT}|{ID_OF_PREVIOUS}|{NUMBER})")
_ANY = "(?s:.*)"
_SPACE = "[ \\n]*"


@dataclass(frozen=True)
class ToolCallFormat:
    """The texts around the names and arguments of the tool calls in a completion.

    Attributes
    ----------
    opening : str
        Before the first name.
    middle : str
        Between a name and its arguments.
    between : str or None
        From the arguments of a call to the name of the next; None if a completion has at most one call.
    closing : str
        After the last arguments.
    arguments : Notation
        How arguments are written.
    own_marker : str
        `marker`, if it is not a tag at the beginning of `opening`.
    headers : tuple of str
        Texts in an answer that belong neither to its text nor to a call.
    """

    opening: str
    middle: str
    between: str | None
    closing: str
    arguments: Notation = field(default_factory=JsonNotation)
    own_marker: str = ""
    headers: tuple[str, ...] = ()

    @property
    def start(self) -> str:
        """`opening` without leading whitespace."""
        return self.opening.lstrip()

    @property
    def marker(self) -> str:
        """The prefix of `start` that distinguishes calls from text anywhere in a completion.

        Empty if calls are recognized only when the completion begins with `start`.
        """
        found = _MARKER.match(self.start)
        return self.own_marker or (found.group() if found else "")

    @property
    def has_late_ids(self) -> bool:
        """Whether the id of a call follows its arguments."""
        return ID_OF_PREVIOUS in (self.between or "") + self.closing

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of the format, in which control tokens may occur."""
        return (self.opening, self.middle, self.between or "", self.closing, *self.arguments.texts, *self.headers)

    def patterns(self, names: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str] | None, re.Pattern[str]]:
        """Return patterns of the text up to the arguments of the first call, of that between calls, and of the last.

        See `CallReader`.
        """
        ordered = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        head = f"(?P<name>{ordered}){text_pattern(self.middle) if self.middle.strip() else self.arguments.begins}"
        following = None if self.between is None else re.compile(text_pattern(self.between) + head)
        return re.compile(text_pattern(self.start) + head), following, re.compile(text_pattern(self.closing.rstrip()))

    def finder(self, names: Sequence[str]) -> Finder:
        """Return what finds the calls of these tools in a completion."""
        if not names:
            return Marked(())
        return Marked(self._starts(names)) if self.marker else AtStart(self._starts(names))

    def cleaner(self) -> Cleaner:
        """Return what removes the headers of messages from the text of a completion."""
        return Cleaner(self.headers)

    def _starts(self, names: Sequence[str]) -> list[str]:
        """Return the texts with which calls begin; a marker that something else follows is text."""
        begun = self._begun
        if begun is not None:
            return [begun]
        return [f"{self.start}{name}{self.middle}" if not self.marker else f"{self.start}{name}" for name in names]

    @property
    def _begun(self) -> str | None:
        """The part of `start` after which a call has begun; None if only a name tells it."""
        if not self.marker:
            return self.start if re.search(r"\w", self.start) else None
        rest = self.start[len(self.marker) :]
        n_spaces = len(rest) - len(rest.lstrip())
        return self.start[: len(self.marker) + n_spaces + 1] if rest.strip() else None

    def text_rules(self, rules: Rules, names: Sequence[str]) -> str:
        """Add the rules "text", a completion without calls, and "opening", what precedes the first name.

        Returns
        -------
        str
            The items of a rule for text and then the first call. The rule "call" is any call, `arguments_I` the
            arguments of tool I.
        """
        rules.rule("opening", items(self.opening, rules))
        if not self.marker:
            return self._unmarked(rules, names)
        first = next(iter(rules.split(self.marker)))
        begun = self._begun
        rest = self.start[len(self.marker) :]
        if isinstance(first, int) or begun is None or isinstance(next(iter(rules.split(rest.lstrip()))), int):
            rules.terminal("text", f"/{_ANY}/ & ~/{_ANY}{literal(self.marker)}{_ANY}/")
            rules.rule("text", "TEXT")
            if isinstance(first, int):
                return f"TEXT {items(self.start, rules)} call"
            # Lexemes are greedy; a lazy one ends with the first marker.
            return f"{rules.rule('marked', f'/{_ANY}{literal(self.marker)}/', lazy=True)} {items(rest, rules)} call"
        # After a marker in text, only what follows it in the format makes a call.
        like = f"{_ANY}{literal(self.marker)}\\s*{literal(begun[-1])}"
        rules.terminal("text", f"/{_ANY}/ & ~/{like}{_ANY}/")
        rules.rule("text", "TEXT")
        rules.terminal("marked", f"/{_ANY}{literal(begun)}/ & ~/{like}(?s:.+)/")
        return f"{rules.rule('marked', 'MARKED', lazy=True)} {items(self.start[len(begun) :], rules)} call"

    def _unmarked(self, rules: Rules, names: Sequence[str]) -> str:
        starts = "|".join(map(literal, self._starts(names)))
        rules.terminal("text", f"/{_ANY}/ & ~/{_SPACE}({starts}){_ANY}/")
        rules.rule("text", "TEXT")
        # One lexeme up to the arguments: the text that they could also be would win over a shorter one.
        heads = (items(self.start + name + self.middle, rules) for name in names)
        return f"({' | '.join(f'{head} arguments_{i}' for i, head in enumerate(heads))})"

    def call(self, name: str, arguments: str, rules: Rules) -> str:
        """Return the items of a call, from its name to the end of its arguments, which are the rule `arguments`."""
        return f"{items(name + self.middle, rules)} {arguments}"

    def write(self, calls: Sequence[ToolCall]) -> str:
        """Return calls as text."""
        written = self.opening
        for i, call in enumerate(calls):
            if i:
                written += _filled(self.between or self.closing + self.opening, call.id, calls[i - 1].id, i)
            else:
                written = _filled(written, call.id, "", i)
            written += call.name + _filled(self.middle, call.id, "", i) + self.arguments.write(call.arguments)
        return written + _filled(self.closing, "", calls[-1].id, len(calls) - 1)


class Cleaner:
    """Passes the text of a completion on, without the headers of messages in it.

    Parameters
    ----------
    headers : sequence of str
        Texts to omit.
    """

    def __init__(self, headers: Sequence[str] = ()) -> None:
        self._headers = headers
        self._stops = StopFilter(headers)

    def push(self, text: str) -> str:
        """Take the next piece; return the text that is certainly no header."""
        shown = ""
        while text:
            passed, hit = self._stops.push(text)
            shown += passed
            if hit is None:
                break
            text = self._stops.rest
            self._stops = StopFilter(self._headers)
        return shown

    def flush(self) -> str:
        """End the text; return what was held back."""
        return self._stops.flush()


def items(text: str, rules: Rules) -> str:
    """Return a text of a format as items of a grammar rule."""
    found = []
    for part in _PLACEHOLDER.split(text):
        if part == OPTIONAL_ID:
            found.append(f"({rules.literal(part[:-2])} ID {rules.literal(part[-1])})?")
        elif part in (ID_OF_NEXT, ID_OF_PREVIOUS, NUMBER):
            found.append("NUMBER" if part == NUMBER else "ID")
        elif part:
            found.append(rules.literal(part))
    return " ".join(found)


def text_pattern(text: str) -> str:
    """Return a regular expression for a text of a format.

    White space before and in the text may differ, not that at its end, so that the match does not depend on how much of
    what follows is there. For placeholders see NUMBER.
    """
    inner = text.rstrip()
    pattern = ""
    for part in _PLACEHOLDER.split(inner):
        if part == OPTIONAL_ID:
            pattern += '(?:,\\s*"id":\\s*"(?P<previous>[A-Za-z0-9]{9})")?'
        elif part in (ID_OF_NEXT, ID_OF_PREVIOUS):
            pattern += f"(?P<{'next' if part == ID_OF_NEXT else 'previous'}>[A-Za-z0-9]{{9}})"
        else:
            pattern += "[0-9]{1,9}" if part == NUMBER else r"\s*".join(map(re.escape, re.split(r"\s+", part)))
    return rf"\s*{pattern}{re.escape(text[len(inner) :])}"


def _filled(text: str, next_id: str, previous_id: str, number: int) -> str:
    """Return a text of a format with its placeholders replaced."""
    return text.replace(ID_OF_NEXT, next_id).replace(ID_OF_PREVIOUS, previous_id).replace(NUMBER, str(number))
