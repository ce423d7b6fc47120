"""TokenBytes: the bytes of each token of a vocabulary, and lookups of tokens by bytes they contain."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from realizar.forks import cached_property
from realizar.tokenizer import Tokenizer

Ids = NDArray[np.int32]

MAX_SINGLE_SEARCHES = 16
"""Up to this many words are searched one by one, each in 20 ms for 152,000 tokens; more together, in 300 to 450 ms."""


class TokenBytes:
    """What each token adds to a text; computed at first use, in a second for 150,000 tokens, once for each model.

    Parameters
    ----------
    tokenizer : Tokenizer
        Its control tokens count as empty.
    n_vocab : int
        Number of logits of the model, which may exceed the number of tokens of the tokenizer.

    Attributes
    ----------
    n_vocab : int
    eot_id : int or None
        End-of-turn token.
    """

    def __init__(self, tokenizer: Tokenizer, n_vocab: int) -> None:
        self._tokenizer = tokenizer
        self._n = min(tokenizer.n_vocab, n_vocab)
        self.n_vocab = n_vocab
        self.eot_id = tokenizer.eot_id

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of each token."""
        t = self._tokenizer
        return [b"" if t.is_hidden(i) else t.token_bytes(i) for i in range(self._n)]

    @cached_property
    def packed(self) -> tuple[NDArray[np.uint8], Ids]:
        """All pieces concatenated, uint8 [n_bytes], and the offset of each, int32 [n_vocab + 1]."""
        lengths = np.zeros(self.n_vocab + 1, np.int32)
        lengths[1 : self._n + 1] = [len(piece) for piece in self.pieces]
        return np.frombuffer(b"".join(self.pieces), np.uint8), np.cumsum(lengths, dtype=np.int32)

    def without_last(self, prompt: list[int]) -> tuple[list[int], bytes]:
        """Return a prompt without its last token, and the bytes of that token.

        The prompt is returned whole, with b"", if the last token is its only one or has no bytes.
        """
        last = prompt[-1]
        piece = self.pieces[last] if last < self._n and len(prompt) > 1 else b""
        return (prompt[:-1], piece) if piece else (prompt, b"")

    def containing(self, word: bytes) -> Ids:
        """Return the tokens that contain these bytes."""
        return np.array([i for i, piece in enumerate(self.pieces) if word in piece], np.int32)

    def containing_any(self, words: Collection[bytes]) -> Ids:
        """Return the tokens that contain one of these non-empty byte strings; many take hardly longer than one."""
        if len(words) <= MAX_SINGLE_SEARCHES:
            return np.unique(np.concatenate([self.containing(word) for word in words] or [np.empty(0, np.int32)]))
        by_length: dict[int, set[bytes]] = {}
        for word in sorted(words, key=len):
            by_length.setdefault(len(word), set()).add(word)
        return np.array([i for i, piece in enumerate(self.pieces) if _has_any(piece, by_length)], np.int32)

    def starting(self, start: bytes) -> Ids:
        """Return the tokens that begin with these bytes."""
        return _beginning(*self._sorted, start)

    def ending(self, end: bytes) -> Ids:
        """Return the tokens that end with these bytes."""
        return _beginning(*self._sorted_by_end, end[::-1])

    def tail(self, history: Ids, n: int) -> bytes:
        """Return at least the last n bytes of a history, but nothing before a token without bytes."""
        parts: list[bytes] = []
        for token in history[::-1]:
            piece = self.pieces[token] if token < self._n else b""
            if n <= 0 or not piece:
                break
            parts.append(piece)
            n -= len(piece)
        return b"".join(parts[::-1])

    def sequence_breakers(self, words: tuple[str, ...]) -> dict[int, set[tuple[int, ...]]]:
        """Return the token sequences that contain these words: first token -> possible continuations.

        The continuation is () if the first token contains the whole word. Otherwise it is the tokenizer's encoding of
        the rest of the word. KoboldCpp and llama.cpp find the sequence breakers of DRY in this way.
        """
        found: dict[int, set[tuple[int, ...]]] = {}
        for token in self.containing_any({word.encode() for word in words}).tolist():
            found[token] = {()}
        for word in words:
            for i in range(1, len(word)):
                rest = tuple(self._tokenizer.encode(word[i:], add_special=False))
                for token in self.ending(word[:i].encode()).tolist():
                    if word.encode() not in self.pieces[token]:
                        found.setdefault(token, set()).add(rest)
        return found

    @cached_property
    def _sorted(self) -> tuple[list[bytes], Ids]:
        order = sorted(range(self._n), key=self.pieces.__getitem__)
        return [self.pieces[i] for i in order], np.array(order, np.int32)

    @cached_property
    def _sorted_by_end(self) -> tuple[list[bytes], Ids]:
        backwards = [piece[::-1] for piece in self.pieces]
        order = sorted(range(self._n), key=backwards.__getitem__)
        return [backwards[i] for i in order], np.array(order, np.int32)


def _beginning(pieces: list[bytes], ids: Ids, start: bytes) -> Ids:
    """Return the ids of the sorted pieces that begin with these bytes."""
    first = bisect_left(pieces, start)
    last = bisect_left(pieces, True, first, key=lambda piece: not piece.startswith(start))
    return ids[first:last]


def _has_any(piece: bytes, by_length: dict[int, set[bytes]]) -> bool:
    """Whether a piece contains one of some words, which are grouped by length, shortest first."""
    for length, words in by_length.items():
        if length > len(piece):
            break
        if any(piece[i : i + length] in words for i in range(len(piece) - length + 1)):
            return True
    return False
