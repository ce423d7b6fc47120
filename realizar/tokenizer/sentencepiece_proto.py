"""Serialization of SentencePiece models: the fields that tokenizers need, in protobuf's wire format.

Field numbers are those of sentencepiece_model.proto. A GGUF file contains the data of the model file, not the file
itself, so we rebuild it.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

from realizar.errors import MissingExtraError, TokenizerError, short_repr

UNIGRAM, BPE = 1, 2
"""TrainerSpec.ModelType."""

_score = struct.Struct("<f").pack


def is_installed() -> bool:
    """Return whether the package sentencepiece can be imported."""
    return find_spec("sentencepiece") is not None


def piece(text: bytes, score: float, kind: int) -> bytes:
    """Serialize one entry of ModelProto.pieces; `kind` is a `TokenType`."""
    # SentencePiece: piece = 1, score = 2 (float), type = 3
    return field(1, field(1, text) + b"\x15" + _score(score) + b"\x18" + bytes([kind]))


def field(tag: int, payload: bytes) -> bytes:
    """Serialize a length-delimited field."""
    return _varint(tag << 3 | 2) + _varint(len(payload)) + payload


def number(tag: int, value: int) -> bytes:
    """Serialize a varint field."""
    return _varint(tag << 3) + _varint(value)


def processor(pieces: bytes, trainer: bytes, normalizer: bytes, key: str) -> Any:
    """Return a SentencePieceProcessor with these pieces, TrainerSpec and NormalizerSpec.

    Raises
    ------
    TokenizerError
        SentencePiece rejects them; the message names `key`.
    MissingExtraError
        The package sentencepiece is not installed.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise MissingExtraError(
            f"{key}: this tokenizer needs sentencepiece, which realizar's wheels for musl (Alpine) do not require "
            f"because it has none: pip install sentencepiece, which builds it ({error})"
        ) from None

    made = SentencePieceProcessor()
    try:
        made.LoadFromSerializedProto(pieces + field(2, trainer) + field(3, normalizer))
    except RuntimeError as error:
        says = short_repr(str(error))
        raise TokenizerError(f"{key} cannot be used as a SentencePiece model: {says}") from error
    return made


def _varint(value: int) -> bytes:
    low = bytearray()
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])
