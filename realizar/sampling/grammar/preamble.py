"""Preamble: free text before the text that a constraint describes, such as the reasoning before an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from realizar.sampling.grammar.patterns import literal

Split = Callable[[str], Iterable[str | int]]

_SPACE = "[ \\t\\n]{1,8}"


class Preamble(NamedTuple):
    """Free text between two markers.

    Attributes
    ----------
    opening, closing : str
        The markers.
    is_open : bool
        Whether the prompt ends with the opening one, so that the text begins within.
    """

    opening: str
    closing: str
    is_open: bool

    def before(self, grammar: str, split: Split) -> str:
        """Return a grammar of this preamble and then what a grammar describes, both in llguidance's Lark.

        Parameters
        ----------
        grammar : str
            Its first line has llguidance's options.
        split : callable
            Splits a text into ids of control tokens and the texts between them.
        """
        options, _, body = grammar.partition("\n")
        begin = "" if self.is_open else f"SPACE? {_items(self.opening, split)}"
        anything, closing = "(?s:.*)", literal(self.closing)
        if all(isinstance(part, str) for part in split(self.closing)):
            # Lexemes are greedy; a lazy one ends with the first marker.
            inside = [f"inside[lazy]: /{anything}{closing}/"]
        else:  # ordinary tokens do not spell it
            inside = [
                f"inside: INSIDE {_items(self.closing, split)}",
                f"INSIDE: /{anything}/ & ~/{anything}{closing}{anything}/",
            ]
        rules = [f"start: {begin} inside SPACE? described", f"SPACE: /{_SPACE}/", *inside]
        return "\n".join([options, *rules, f"described: %lark {{\n{body}\n}}"]) + "\n"


def _items(text: str, split: Split) -> str:
    return " ".join(f"<[{part}]>" if isinstance(part, int) else json.dumps(part) for part in split(text))
