"""SentencePiece BPE (tokenizer.ggml.model = llama) on the `sentencepiece` package.

A GGUF file keeps the pieces of the model, not the model file; the file is written anew here, directly in protobuf's
wire format (sentencepiece_model.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from realizar.errors import TokenizerError, shown
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, TokenType, Vocabulary, flag, numbers, token_id

_BPE = 2  # TrainerSpec.ModelType


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return what holds where the metadata says nothing: the defaults of SentencePiece itself."""
    space_prefix = flag(metadata, "tokenizer.ggml.add_space_prefix", True)
    return Rules(bos_id=1, eos_id=2, add_bos=True, space_prefix=space_prefix)


def token_bytes(text: str) -> bytes:
    """Return the bytes that a NORMAL token stands for."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the tokenizer; the result maps a text without special tokens to ids and may run in many threads."""
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model_proto(metadata, vocabulary))
    except (RuntimeError, OverflowError) as error:  # OverflowError: a score beyond float32
        says = shown(str(error))
        raise TokenizerError(f"tokenizer.ggml.tokens cannot be used as a SentencePiece model: {says}") from error
    encode: Callable[[str], list[int]] = processor.EncodeAsIds
    return encode


def model_proto(metadata: Metadata, vocabulary: Vocabulary) -> bytes:
    """Return a serialized sentencepiece ModelProto: pieces, and specs that leave the text as it is."""
    tokens, types = vocabulary.tokens, _piece_types(metadata, vocabulary)
    scores = numbers(metadata, "tokenizer.ggml.scores", len(tokens), "iuf")
    pack = struct.Struct("<f").pack
    pieces = []
    for i, text in enumerate(tokens):
        raw = text.encode() or b"[EMPTY_%d]" % i  # sentencepiece refuses a piece without a text
        # SentencePiece: piece = 1, score = 2 (float), type = 3
        pieces.append(_field(1, _field(1, raw) + b"\x15" + pack(scores[i]) + b"\x18" + types[i : i + 1]))
    has_bytes = types.count(TokenType.BYTE) == 256
    # TrainerSpec: model_type = 3, byte_fallback = 35, unk_id = 40
    trainer = _number(3, _BPE) + _number(35, has_bytes) + _number(40, types.index(TokenType.UNKNOWN))
    # NormalizerSpec: add_dummy_prefix = 3 (the prefix is ours to add), remove_extra_whitespaces = 4
    normalizer = _number(3, 0) + _number(4, 0)
    return b"".join(pieces) + _field(2, trainer) + _field(3, normalizer)


def _piece_types(metadata: Metadata, vocabulary: Vocabulary) -> bytes:
    """Return the types with exactly one UNKNOWN, as sentencepiece wants it; other unknowns become CONTROL."""
    types = bytearray(vocabulary.types).replace(bytes([TokenType.UNDEFINED]), bytes([TokenType.UNUSED]))
    first = max(types.find(TokenType.UNKNOWN), 0)
    unknown = token_id(metadata, "unknown", len(types), first)
    types = types.replace(bytes([TokenType.UNKNOWN]), bytes([TokenType.CONTROL]))
    types[unknown or 0] = TokenType.UNKNOWN
    return bytes(types)


def _varint(value: int) -> bytes:
    low = bytearray()
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def _field(number: int, payload: bytes) -> bytes:
    """Write a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    """Write a varint field."""
    return _varint(number << 3) + _varint(value)
