"""A tokenizer of a few short tokens, for tests of samplers that use token bytes."""

from __future__ import annotations

from typing import cast

from realizar.sampling import TokenBytes
from realizar.tokenizer import Tokenizer

PIECES = [
    b"",
    b"a",
    b"b",
    b"c",
    b"ab",
    b"ba",
    b"abc",
    b"cab",
    b"\n",
    b"c\n",
    b"\na",
    b"bb",
    b"\xc3",
    b"\xa9",
    "é".encode(),
]
N_VOCAB = len(PIECES) + 1
"""One logit more than there are tokens, as models pad theirs."""


class Letters:
    """A greedy longest-match tokenizer; token 0 is special."""

    n_vocab = len(PIECES)
    eog_ids = frozenset((0,))
    eot_id = 0

    def is_hidden(self, token: int) -> bool:
        return token == 0

    def token_bytes(self, token: int) -> bytes:
        return PIECES[token]

    def encode(self, text: str, add_special: bool = True) -> list[int]:
        raw, ids = text.encode(), []
        while raw:
            ids.append(
                max((i for i in range(1, len(PIECES)) if raw.startswith(PIECES[i])), key=lambda i: len(PIECES[i]))
            )
            raw = raw[len(PIECES[ids[-1]]) :]
        return ids


def token_bytes() -> TokenBytes:
    return TokenBytes(cast(Tokenizer, Letters()), N_VOCAB)
