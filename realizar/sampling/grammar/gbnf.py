"""A parser for GBNF, the grammar format of llama.cpp (described in its grammars/README.md)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import chain

from realizar.errors import GrammarError, short_repr
from realizar.sampling.grammar.nodes import ANY, Chars, Node, Ref, Token, choice, repeat, sequence

TokenIds = Callable[[str], list[int]]

MAX_DEPTH = 60
"""Limit on nested groups; each takes up to six of Python's 1000 stack frames."""
MAX_COUNT = 100_000
"""Limit on the numbers of a repetition."""
MAX_ITEMS = 50_000
"""Limit on characters, classes, tokens, rule names and '|': half a second; llguidance's limit is 65,525 symbols."""

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"(!?)<(?:\[(\d{1,9})\]|([^>\r\n]+))>")
_COUNTS = re.compile(r"\{[ \t]*(\d+)[ \t]*(?:(,)[ \t]*(\d*)[ \t]*)?\}")
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n", **{c: c for c in '\\"[]-'}}
_REPEATED = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse(text: str, token_ids: TokenIds) -> dict[str, Node]:
    """Return the rules of a grammar by name.

    Parameters
    ----------
    text : str
        The grammar.
    token_ids : callable
        Maps the name of a token, such as ``<think>``, to its ids; the grammar may only use names with a single id.

    Raises
    ------
    GrammarError
        The text is not valid GBNF or too large, a rule is missing, or there is no rule "root".
    """
    return _Parser(text, token_ids).rules()


class _Parser:
    """A recursive-descent parser; `_at` is the position of the next character."""

    def __init__(self, text: str, token_ids: TokenIds) -> None:
        self._text = text
        self._token_ids = token_ids
        self._at = 0
        self._depth = 0
        self._n_items = 0
        self._refs: list[Ref] = []
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def rules(self) -> dict[str, Node]:
        rules: dict[str, Node] = {}
        refs: dict[str, list[Ref]] = {}
        self._skip(_SPACE_AND_LINES)
        while self._at < len(self._text):
            name = self._name()
            self._skip(_SPACE)
            self._expect("::=")
            self._skip(_SPACE_AND_LINES)
            rules[name] = self._options(_SPACE)  # the last rule of a name counts, as in llama.cpp
            refs[name], self._refs = self._refs, []
            if self._at < len(self._text) and self._peek() not in "\r\n":
                raise self._error("expected an item, '|' or the end of the line")
            self._skip(_SPACE_AND_LINES)
        if "root" not in rules:
            raise GrammarError("the grammar has no rule 'root', which describes the whole text")
        for ref in chain.from_iterable(refs.values()):
            if ref.name not in rules:
                raise GrammarError(f"grammar, {ref.where}: there is no rule {short_repr(ref.name)}")
        return rules

    def _options(self, space: re.Pattern[str]) -> Node:
        options = [self._items(space)]
        while self._peek() == "|":
            self._count()
            self._at += 1
            self._skip(_SPACE_AND_LINES)
            options.append(self._items(space))
        return choice(options)

    def _items(self, space: re.Pattern[str]) -> Node:
        items: list[Node] = []
        while (item := self._item()) is not None:
            self._count()
            self._skip(space)
            while (counts := self._counts()) is not None:
                item = repeat(item, *counts)
                self._skip(space)
            items.append(item)
        return sequence(items)

    def _item(self) -> Node | None:
        """Return the next item, or None if something else follows."""
        first = self._peek()
        if first == '"':
            return self._string()
        if first == "[":
            return self._class()
        if first == ".":
            self._at += 1
            return ANY
        if first == "(":
            return self._group()
        if first and first in "<!":
            return self._token()
        if _NAME.match(self._text, self._at):
            ref = Ref(where=self._where(self._at), name=self._name())
            self._refs.append(ref)
            return ref
        if first and first in "*+?{":
            raise self._error("a repetition needs an item before it")
        return None

    def _string(self) -> Node:
        start = self._at
        self._at += 1
        characters: list[Node] = []
        while self._peek() != '"':
            self._count()
            code = self._character(start)
            characters.append(Chars(((code, code),)))
        self._at += 1
        return sequence(characters)

    def _class(self) -> Node:
        start = self._at
        negated = self._text.startswith("[^", start)
        self._at += 2 if negated else 1
        ranges = []
        while self._peek() != "]":
            self._count()
            low = high = self._character(start)
            if self._peek() == "-" and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._character(start)
            if high < low:
                raise self._error(f"the range from U+{low:04X} to U+{high:04X} is empty", start)
            ranges.append((low, high))
        if not ranges:
            raise self._error("a class needs at least one character; write \\] for a bracket", start)
        self._at += 1
        return Chars(tuple(ranges), negated)

    def _character(self, start: int) -> int:
        """Return the code point of the next character of the string or class that began at `start`."""
        at = self._at
        char = self._peek()
        if not char:
            raise self._error("the grammar ends inside a string or class", start)
        self._at += 1
        if char == "\\":
            letter = self._peek()
            self._at += 1
            n = _HEX.get(letter, 0)
            digits = self._text[self._at : self._at + n]
            if n and re.fullmatch(r"[0-9A-Fa-f]+", digits) and len(digits) == n:
                self._at += n
                code = int(digits, 16)
            elif letter in _ESCAPED:
                code = ord(_ESCAPED[letter])
            else:
                raise self._error(f"unknown escape {short_repr(self._text[at : at + 2 + n])}", at)
        else:
            code = ord(char)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._error(f"U+{code:04X} is not a character, so no text can contain it", at)
        return code

    def _group(self) -> Node:
        start = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} nested groups; make some of them rules")
        self._at += 1
        self._skip(_SPACE_AND_LINES)
        inside = self._options(_SPACE_AND_LINES)
        if self._peek() != ")":
            raise self._error("the group is not closed: an item, '|' or ')' is missing", start)
        self._at += 1
        self._depth -= 1
        return inside

    def _token(self) -> Token:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise self._error("a token is written <[id]> or <name>; !<...> stands for any other token")
        negated, number, name = found.groups()
        ids = [int(number)] if number else self._token_ids(f"<{name}>")
        if len(ids) != 1:
            raise self._error(f"{short_repr(found[0])} is {len(ids)} tokens of this model's vocabulary, not one")
        self._at = found.end()
        return Token(ids[0], bool(negated))

    def _counts(self) -> tuple[int, int | None] | None:
        """Return the repetition counts after an item, or None if there are none."""
        first = self._peek()
        if first in _REPEATED:
            self._at += 1
            return _REPEATED[first]
        if first != "{":
            return None
        found = _COUNTS.match(self._text, self._at)
        if found is None:
            raise self._error("expected {n}, {low,} or {low,high}")
        low, comma, high = found.groups()
        if max(len(low), len(high or "")) > 9 or max(int(low), int(high or 0)) > MAX_COUNT:
            raise self._error(f"the greatest number of repetitions is {MAX_COUNT}")
        counts = (int(low), int(high) if high else None if comma else int(low))
        if counts[1] is not None and counts[1] < counts[0]:
            raise self._error("the upper limit of a repetition is less than the lower one")
        self._at = found.end()
        return counts

    def _count(self) -> None:
        self._n_items += 1
        if self._n_items > MAX_ITEMS:
            raise self._error(f"the grammar has more than {MAX_ITEMS} items and characters; make it smaller")

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._error("expected the name of a rule: letters, digits, dashes and underscores")
        self._at = found.end()
        return found[0]

    def _expect(self, word: str) -> None:
        if not self._text.startswith(word, self._at):
            raise self._error(f"expected {word!r}")
        self._at += len(word)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self._text, self._at)
        self._at = self._at if found is None else found.end()

    def _where(self, at: int) -> str:
        line = bisect_right(self._lines, at)
        return f"line {line}, column {at - self._lines[line - 1] + 1}"

    def _error(self, what: str, at: int | None = None) -> GrammarError:
        at = self._at if at is None else at
        rest = self._text[at : at + 20]
        found = f"found {short_repr(rest)}" if rest else "found the end of the grammar"
        return GrammarError(f"grammar, {self._where(at)}: {what}; {found}")
