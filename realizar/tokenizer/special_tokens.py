"""SpecialTokens: cuts a text at its special tokens, before the tokenizer proper sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from realizar.forks import cached_property
from realizar.tokenizer.vocabulary import TokenType, Vocabulary, special_ids

_WHITE_SPACE = " \t\n\v\f\r"  # the C locale's, as the models' first tokenizers had it


class SpecialTokens:
    """The special tokens of a vocabulary as two patterns: all of them, and those that count in any text.

    USER_DEFINED tokens are part of a user's text; CONTROL and UNKNOWN ones steer the model, so they are found only
    where the caller vouches for the text. A regular expression of our own does it, since the flag that `tokenizers`
    has for it sits on an object that threads share.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        types = vocabulary.types
        self._strip_after = vocabulary.strip_after
        self._ids = {t: i for i in special_ids(types) if (t := vocabulary.tokens[i])}
        self._in_any_text = [t for t, i in self._ids.items() if types[i] == TokenType.USER_DEFINED]

    def split(self, text: str, parse_special: bool) -> Iterator[str | int]:
        """Yield the token ids of special tokens and the texts between them, never an empty text."""
        pattern = self._all if parse_special else self._user_defined
        start = 0
        while pattern is not None and (found := pattern.search(text, start)):
            if start < found.start():
                yield text[start : found.start()]
            token = self._ids[found.group()]
            yield token
            start = found.end()
            if token in self._strip_after:
                start = len(text) - len(text[start:].lstrip(_WHITE_SPACE))
        if start < len(text):
            yield text[start:]

    @cached_property
    def _all(self) -> re.Pattern[str] | None:
        return _alternation(list(self._ids))

    @cached_property
    def _user_defined(self) -> re.Pattern[str] | None:
        return _alternation(self._in_any_text)


def _alternation(texts: list[str]) -> re.Pattern[str] | None:
    """Return one pattern for all texts: at one place the longest wins."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None
