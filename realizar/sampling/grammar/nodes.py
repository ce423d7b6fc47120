"""What a GBNF rule is made of: characters, tokens, names of rules, sequences, choices and repetitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Chars:
    """One character: of the ranges of code points (both ends included), or if `negated` any other."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


ANY = Chars(((0, 0x10FFFF),))


@dataclass(frozen=True)
class Run:
    """One or more of these characters, as many as there are; `number` tells runs of a grammar apart."""

    chars: Chars
    number: int


@dataclass(frozen=True)
class Token:
    """One token of the vocabulary, or if `negated` any other."""

    id: int
    negated: bool


@dataclass(frozen=True)
class Ref:
    """What the rule of that name stands for, and the place where it is named."""

    name: str
    where: str


@dataclass(frozen=True)
class Repeat:
    """The item from `low` to `high` times; `high` None: any number."""

    item: Node
    low: int
    high: int | None


@dataclass(frozen=True)
class Sequence:
    """One item after the other; none at all is the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of these."""

    options: tuple[Node, ...]


Node: TypeAlias = "Chars | Run | Token | Ref | Repeat | Sequence | Choice"


def sequence(items: list[Node]) -> Node:
    """Return items in a row; a single one is itself."""
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def choice(options: list[Node]) -> Node:
    """Return the choice among some; a single one is itself."""
    return options[0] if len(options) == 1 else Choice(tuple(options))


def repeat(item: Node, low: int, high: int | None) -> Node:
    """Return a repetition, with one directly inside another made one where the texts are the same.

    In ``(x*)*`` n characters can be shared out among the stars in 2^(n-1) ways, and the parser follows the ends of all:
    after 300 characters a mask took 200 ms.
    """
    if isinstance(item, Repeat) and item.low <= 1 and item.high != 0:
        if high is None and low <= 1:
            return Repeat(item.item, low * item.low, None)
        if (low, high) == (0, 1):
            return Repeat(item.item, 0, item.high)
    return Repeat(item, low, high)
