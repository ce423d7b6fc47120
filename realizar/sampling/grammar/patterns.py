"""Regular expressions and choices in llguidance's Lark."""

from __future__ import annotations

from collections.abc import Sequence

from realizar.errors import GrammarError

MAX_LENGTH = 1 << 22
"""Characters of a regular expression, or of all choices together as they are written in one."""

# What the syntax of Rust's regex crate reads as something else than itself, and the slash that ends a Lark regex.
_SPECIAL = frozenset("\\.+*?()|[]{}^$#&-~/ \t\r\n")


def from_regex(pattern: str, name: str = "regex") -> str:
    """Return the grammar of the texts that a regular expression matches as a whole.

    The syntax is that of Rust's regex crate, without look-around, back references and anchors within.

    Raises
    ------
    GrammarError
        It is too long; the error has the name of the parameter that it comes from.
    """
    if len(pattern) > MAX_LENGTH:
        raise GrammarError(f"{name}: {len(pattern)} characters, and {MAX_LENGTH} are allowed; make it smaller")
    from llguidance import regex_to_lark

    return f"start: /{regex_to_lark(pattern)}/"


def from_choice(options: Sequence[str]) -> str:
    """Return the grammar of some texts, of which an answer is one."""
    return from_regex("|".join(map(literal, options)), "choice")


def literal(text: str) -> str:
    """Return the regular expression of one text."""
    return "".join(f"\\x{{{ord(c):x}}}" if c in _SPECIAL else c for c in text)
