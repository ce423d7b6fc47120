"""StreamDecoder: incremental detokenization that never outputs incomplete characters."""

from __future__ import annotations

import codecs
from copy import copy
from typing import Protocol

_UTF8 = codecs.getincrementaldecoder("utf-8")


class Tokens(Protocol):
    """The vocabulary interface that a decoder needs."""

    @property
    def space_prefix(self) -> bool: ...  # noqa: D102
    def token_bytes(self, token: int) -> bytes: ...  # noqa: D102
    def is_special(self, token: int) -> bool: ...  # noqa: D102
    def is_hidden(self, token: int) -> bool: ...  # noqa: D102


class StreamDecoder:
    """Decodes a sequence token by token; the concatenated output equals `Tokenizer.decode`.

    If a token ends inside a character, its bytes are buffered until the character is complete or `flush` is called.

    Parameters
    ----------
    tokens : Tokens
    skip_special : bool
        Omit control tokens.
    starts : bool
        Whether this is the start of the text, where the space that `encode` adds is dropped.
    n_healed : int
        Number of leading bytes of the first token to omit, because the caller already has them.
    visible_ids : frozenset of int
        Special tokens to output like ordinary text; may change between two tokens.
    """

    def __init__(
        self,
        tokens: Tokens,
        skip_special: bool,
        starts: bool,
        n_healed: int = 0,
        visible_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._tokens = tokens
        self._skip_special = skip_special
        self.visible_ids = visible_ids
        self._starts = starts  # the next text starts with the space that `encode` added
        self._n_healed = n_healed
        self._utf8 = _UTF8("replace")

    def push(self, token: int) -> str:
        """Take one id and return the completed text, possibly empty; raises TokenizerError for an unknown id."""
        raw, self._n_healed = self._tokens.token_bytes(token)[self._n_healed :], 0
        if token not in self.visible_ids and self._tokens.is_special(token):
            self._starts = self._tokens.space_prefix
            if self._skip_special and self._tokens.is_hidden(token):
                return ""
        elif self._starts and raw:
            self._starts = False
            raw = raw.removeprefix(b" ")
        return self._utf8.decode(raw)

    def fork(self) -> StreamDecoder:
        """Return a decoder after the same tokens, for another continuation."""
        forked = copy(self)
        forked._utf8 = _UTF8("replace")
        forked._utf8.setstate(self._utf8.getstate())
        return forked

    def flush(self) -> str:
        """End the text; incomplete characters become U+FFFD."""
        return self._utf8.decode(b"", final=True)
