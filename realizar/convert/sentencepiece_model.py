"""Conversion of SentencePiece models (tokenizer.model) to `tokenizer.ggml.*`.

The file is a protobuf message (sentencepiece_model.proto); we parse only the fields that we need.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from realizar.errors import TokenizerError
from realizar.tokenizer.vocabulary import TokenType

KINDS = {1: "t5", 2: "llama"}  # TrainerSpec.ModelType: UNIGRAM, BPE


def read(path: Path, n_vocab: int) -> dict[str, Any]:
    """Return the metadata of a SentencePiece model, padded to `n_vocab` tokens.

    Raises
    ------
    TokenizerError
        If the file is not a SentencePiece model.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        found = [_piece(value) for number, value in fields if number == 1]
        trainer = dict(_fields(next(value for number, value in fields if number == 2)))
        normalizer = dict(_fields(next((value for number, value in fields if number == 3), b"")))
        model = KINDS[trainer.get(3, 1)]
    except (AttributeError, IndexError, KeyError, StopIteration, struct.error, TypeError, ValueError) as error:
        raise TokenizerError(
            f"{path}: cannot be read as a SentencePiece model of type BPE or unigram: {error!r}"
        ) from error
    texts, scores, types = [t for t, _, _ in found], [s for _, s, _ in found], [kind for _, _, kind in found]
    keys = padded(model, texts, scores, types, n_vocab)
    keys["tokenizer.ggml.add_space_prefix"] = bool(normalizer.get(3, 1))
    if model == "t5":
        keys["tokenizer.ggml.remove_extra_whitespaces"] = bool(normalizer.get(4, 1))
        if normalizer.get(2):
            keys["tokenizer.ggml.precompiled_charsmap"] = np.frombuffer(normalizer[2], np.uint8)
    return keys


def padded(kind: str, texts: list[str], scores: list[float], types: list[int], n_vocab: int) -> dict[str, Any]:
    """Return the metadata of a vocabulary with scores, padded to `n_vocab` tokens with unused ones."""
    n_padding = max(0, n_vocab - len(texts))
    return {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": texts + [f"[PAD{len(texts) + i}]" for i in range(n_padding)],
        "tokenizer.ggml.scores": np.array(scores + [-1000.0] * n_padding, np.float32),
        "tokenizer.ggml.token_type": [*types, *[int(TokenType.UNUSED)] * n_padding],
    }


def _piece(data: bytes) -> tuple[str, float, int]:
    """Return (text, score, type); the type numbers equal GGUF's."""
    fields = dict(_fields(data))
    (score,) = struct.unpack("<f", fields.get(2, b"\0\0\0\0"))
    return fields[1].decode(), score, fields.get(3, int(TokenType.NORMAL))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of each field; the value is an int, or bytes for length-delimited and fixed-size fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[wire]
        if at + size > len(data):
            raise ValueError(f"a field of {size} bytes extends past the end")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
