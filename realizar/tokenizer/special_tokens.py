"""SpecialTokens: splits a text at special tokens before tokenization."""

from __future__ import annotations

import re
from collections.abc import Iterator

from realizar.forks import cached_property
from realizar.tokenizer.vocabulary import TokenType, Vocabulary, special_ids

_WHITE_SPACE = " \t\n\v\f\r"  # isspace of the C locale, as in the models' original tokenizers


class SpecialTokens:
    """The special tokens of a vocabulary as two patterns: all of them, and those recognized in untrusted text.

    USER_DEFINED tokens are recognized in any text. CONTROL and UNKNOWN tokens steer the model, so they are recognized
    only in trusted text. `tokenizers` can do this too, but its flag is on an object shared between threads.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        types = vocabulary.types
        self._strip_after = vocabulary.strip_after
        self._ids = {t: i for i in special_ids(types) if (t := vocabulary.tokens[i])}
        self._user_defined_texts = [t for t, i in self._ids.items() if types[i] == TokenType.USER_DEFINED]

    def split(self, text: str, parse_special: bool) -> Iterator[str | int]:
        """Yield ids of special tokens and the non-empty texts between them."""
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
        return _alternation(self._user_defined_texts)


def _alternation(texts: list[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches any of the texts; the longest match wins."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None
