"""Regular expressions and choices in llguidance's Lark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from realizar.errors import GrammarError

Split = Callable[[str], Iterable[str | int]]
"""Splits a text into ids of control tokens and the texts between them."""

MAX_LENGTH = 1 << 22
"""Limit on the characters of a regular expression, also of the one made from all choices."""

# The special characters of Rust's regex crate, and the slash that ends a regex in Lark.
_SPECIAL = frozenset("\\.+*?()|[]{}^$#&-~/ \t\r\n")


def from_regex(pattern: str, name: str = "regex") -> str:
    """Return the grammar of the texts that a regular expression matches completely.

    The syntax is that of Rust's regex crate, without look-around, backreferences and inner anchors.

    Raises
    ------
    GrammarError
        The expression is too long; the error names the parameter.
    """
    if len(pattern) > MAX_LENGTH:
        raise GrammarError(f"{name}: {len(pattern)} characters, but the limit is {MAX_LENGTH}; make it smaller")
    from llguidance import regex_to_lark

    return f"start: /{regex_to_lark(pattern)}/"


def from_choice(options: Sequence[str]) -> str:
    """Return the grammar that allows exactly these texts."""
    return from_regex("|".join(map(literal, options)), "choice")


def items(text: str, split: Split) -> str:
    """Return the items of a rule that match a text: strings, and the control tokens in it."""
    return " ".join(f"<[{part}]>" if isinstance(part, int) else json.dumps(part) for part in split(text))


def literal(text: str) -> str:
    """Return the regular expression that matches one text."""
    return "".join(f"\\x{{{ord(c):x}}}" if c in _SPECIAL else c for c in text)
