"""Greedy longest match of bytes (tokenizer.ggml.model = rwkv), RWKV's World tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import compress

from realizar.errors import TokenizerError
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, TokenType, Vocabulary

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_NAMED = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata."""
    return Rules(has_unknown=True)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token; files have them as in a Python literal: escapes such as \\n and \\xff."""
    return _ESCAPE.sub(_unescape, text.encode())


def _unescape(found: re.Match[bytes]) -> bytes:
    digits, other = found.groups()
    return bytes([int(digits, 16)]) if digits else _NAMED.get(other, other)


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids.

    At each place the longest token is taken. Control tokens are not among them: text cannot make one.
    """
    is_text = [kind == TokenType.NORMAL for kind in vocabulary.types]
    ids = {token_bytes(vocabulary.tokens[i]): i for i in compress(range(len(is_text)), is_text)}
    by_start: dict[bytes, set[int]] = {}
    for token in ids:
        by_start.setdefault(token[:2], set()).add(len(token))
    # The lengths to try where these two bytes begin, longest first.
    lengths = {start: sorted(found, reverse=True) for start, found in by_start.items() if len(start) == 2}

    def encode(text: str) -> list[int]:
        data, out, at = text.encode(), list[int](), 0
        while at < len(data):
            for n in lengths.get(data[at : at + 2], ()):
                token = ids.get(data[at : at + n])
                if token is not None:
                    break
            else:
                n, token = 1, ids.get(data[at : at + 1], vocabulary.unknown_id)
            if token is None:
                raise TokenizerError(
                    f"the vocabulary has no token for the byte 0x{data[at]:02x} at byte {at} of the text, and no "
                    "unknown token; the file is damaged"
                )
            out.append(token)
            at += n
        return out

    return encode
