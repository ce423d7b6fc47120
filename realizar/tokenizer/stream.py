"""StreamDecoder: token ids in, text out, without ever showing half a character."""

from __future__ import annotations

import codecs
from typing import Protocol

_UTF8 = codecs.getincrementaldecoder("utf-8")


class Tokens(Protocol):
    """What a decoder must know of a vocabulary."""

    @property
    def space_prefix(self) -> bool: ...  # noqa: D102
    def token_bytes(self, token: int) -> bytes: ...  # noqa: D102
    def is_special(self, token: int) -> bool: ...  # noqa: D102
    def is_hidden(self, token: int) -> bool: ...  # noqa: D102


class StreamDecoder:
    """Decodes one text token by token; what it gives out adds up to what `Tokenizer.decode` gives.

    A token may end inside a character: its bytes wait until the character is complete or `flush` ends the text.

    Parameters
    ----------
    tokens : Tokens
    skip_special : bool
        Leave out control tokens.
    starts : bool
        Whether the text begins here: then a space that `encode` puts there is dropped.
    n_known : int
        So many bytes of the first token are known already and are left out.
    shown : frozenset of int
        Special tokens that are text like any other.
    """

    def __init__(
        self, tokens: Tokens, skip_special: bool, starts: bool, n_known: int = 0, shown: frozenset[int] = frozenset()
    ) -> None:
        self._tokens = tokens
        self._skip_special = skip_special
        self._shown = shown
        self._starts = starts  # the next text carries a space that `encode` put there
        self._n_known = n_known
        self._utf8 = _UTF8("replace")

    def push(self, token: int) -> str:
        """Take one id and return the text that is complete now, often empty; TokenizerError for an unknown id."""
        raw, self._n_known = self._tokens.token_bytes(token)[self._n_known :], 0
        if token not in self._shown and self._tokens.is_special(token):
            self._starts = self._tokens.space_prefix
            if self._skip_special and self._tokens.is_hidden(token):
                return ""
        elif self._starts and raw:
            self._starts = False
            raw = raw.removeprefix(b" ")
        return self._utf8.decode(raw)

    def flush(self) -> str:
        """End the text: bytes that never became a character come out as U+FFFD."""
        return self._utf8.decode(b"", final=True)
