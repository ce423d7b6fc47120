"""The nodes of a GBNF rule: characters, tokens, references, sequences, choices and repetitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Chars:
    """One character in these ranges of code points (both ends included), or if `negated` any other character."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


ANY = Chars(((0, 0x10FFFF),))


@dataclass(frozen=True)
class Run:
    """One or more of these characters, matched greedily; `number` identifies the run in its grammar."""

    chars: Chars
    number: int


@dataclass(frozen=True)
class Token:
    """One token of the vocabulary, or if `negated` any other token."""

    id: int
    negated: bool


@dataclass(frozen=True)
class Ref:
    """A reference to the rule of that name; `where` is its place in the grammar, for errors."""

    name: str
    where: str


@dataclass(frozen=True)
class Repeat:
    """The item `low` to `high` times; `high` None: no upper limit."""

    item: Node
    low: int
    high: int | None


@dataclass(frozen=True)
class Sequence:
    """One item after the other; without items, the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of these options."""

    options: tuple[Node, ...]


Node: TypeAlias = "Chars | Run | Token | Ref | Repeat | Sequence | Choice"


def sequence(items: list[Node]) -> Node:
    """Return the sequence of these items, or the item itself if there is only one."""
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def choice(options: list[Node]) -> Node:
    """Return the choice among these options, or the option itself if there is only one."""
    return options[0] if len(options) == 1 else Choice(tuple(options))


def repeat(item: Node, low: int, high: int | None) -> Node:
    """Return a repetition; merges directly nested repetitions if that does not change the language.

    ``(x*)*`` can match n characters in 2^(n-1) ways, and the parser follows all of them: after 300 characters a mask
    took 200 ms.
    """
    if isinstance(item, Repeat) and item.low <= 1 and item.high != 0:
        if high is None and low <= 1:
            return Repeat(item.item, low * item.low, None)
        if (low, high) == (0, 1):
            return Repeat(item.item, 0, item.high)
    return Repeat(item, low, high)
