"""Regular expressions and choices in llguidance's Lark."""

from __future__ import annotations

from collections.abc import Sequence

from realizar.errors import GrammarError, shown

# What the syntax of Rust's regex crate reads as something else than itself, and the slash that ends a Lark regex.
_SPECIAL = frozenset("\\.+*?()|[]{}^$#&-~/ \t\r\n")


def from_regex(pattern: str) -> str:
    """Return the grammar of the texts that a regular expression matches as a whole.

    The syntax is that of Rust's regex crate, without look-around, back references and anchors within.

    Raises
    ------
    GrammarError
        The pattern is no str, or no valid Unicode.
    """
    from llguidance import regex_to_lark

    if not isinstance(pattern, str):
        raise GrammarError(f"regex={shown(pattern)}: must be a str")
    try:
        return f"start: /{regex_to_lark(pattern)}/"
    except UnicodeEncodeError as error:
        raise GrammarError(f"{shown(pattern)}: a lone surrogate at character {error.start} is no text") from None


def from_choice(options: Sequence[str]) -> str:
    """Return the grammar of some texts, of which an answer is one.

    Raises
    ------
    GrammarError
        These are no texts, or one is empty.
    """
    texts = [] if isinstance(options, str) else list(options)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise GrammarError(f"choice={shown(options)}: must be a list of texts, none of them empty")
    return from_regex("|".join(map(_literal, texts)))


def _literal(text: str) -> str:
    return "".join(f"\\x{{{ord(c):x}}}" if c in _SPECIAL else c for c in text)
