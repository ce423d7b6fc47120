"""Unigram (tokenizer.ggml.model = t5: T5, XLM-RoBERTa): `sentencepiece` normalizes, `tokenizers` segments.

SentencePiece could do both, but it sums scores in float32 and breaks ties differently from the models' tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer import sentencepiece_proto as proto
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, TokenType, Vocabulary, flag, scores

# Types of tokens that a text is segmented into. USER_DEFINED tokens are split off earlier, but keep their score.
_IN_TEXT = frozenset((TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.UNUSED))
_UNKNOWN = 2  # in T5's vocabulary


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata: those of T5."""
    space_prefix = flag(metadata, "tokenizer.ggml.add_space_prefix", True)
    return Rules(eos_id=1, add_eos=True, space_prefix=space_prefix, has_unknown=True)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids."""
    from tokenizers import Tokenizer, models

    unknown = _UNKNOWN if vocabulary.unknown_id is None else vocabulary.unknown_id
    if unknown >= len(vocabulary.tokens):
        raise TokenizerError("tokenizer.ggml.unknown_token_id: a unigram vocabulary needs it; the file is damaged")
    try:
        tokenizer = Tokenizer(models.Unigram(_pieces(metadata, vocabulary), unk_id=unknown, byte_fallback=False))
    except Exception as error:  # `tokenizers` raises bare Exception
        says = short_repr(str(error))
        raise TokenizerError(f"tokenizer.ggml.tokens cannot be used as a unigram vocabulary: {says}") from error
    normalize = _normalizer(metadata)

    def encode(text: str) -> list[int]:
        # Unlike `encode`, `encode_batch_fast` releases the GIL.
        pieces = normalize(text).replace(" ", "▁")
        ids: list[int] = tokenizer.encode_batch_fast([pieces], add_special_tokens=False)[0].ids
        return ids

    return encode


def _pieces(metadata: Metadata, vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Return (text, score) of each token; tokens not in _IN_TEXT get a text with a space, which never matches."""
    return [
        (text, 0.0 if kind == TokenType.USER_DEFINED else score) if kind in _IN_TEXT and text else (f" {i}", 0.0)
        for i, (text, kind, score) in enumerate(
            zip(vocabulary.tokens, vocabulary.types, scores(metadata, len(vocabulary.tokens)), strict=True)
        )
    ]


def _normalizer(metadata: Metadata) -> Callable[[str], str]:
    """Return the text normalizer: the file's character map and its whitespace settings.

    `Tokenizer.encode` has already added a leading space. If extra whitespace is removed, that space is removed too, and
    SentencePiece adds its own.
    """
    charsmap = np.asarray(metadata.get("tokenizer.ggml.precompiled_charsmap", ()), np.uint8).tobytes()
    merges_spaces = flag(metadata, "tokenizer.ggml.remove_extra_whitespaces", False)
    if not charsmap and not merges_spaces:  # nothing to normalize, so that sentencepiece need not be installed
        return str
    # SentencePiece requires a vocabulary with an unknown piece and one other. TrainerSpec: model_type = 3
    pieces = proto.piece(b"<unk>", 0.0, TokenType.UNKNOWN) + proto.piece(b"a", -1.0, TokenType.NORMAL)
    trainer = proto.number(3, proto.UNIGRAM)
    # NormalizerSpec: precompiled_charsmap = 2, add_dummy_prefix = 3, remove_extra_whitespaces = 4,
    # escape_whitespaces = 5
    spaces = proto.number(3, merges_spaces) + proto.number(4, merges_spaces) + proto.number(5, 0)
    normalizer = (proto.field(2, charsmap) if charsmap else b"") + spaces
    processor = proto.processor(pieces, trainer, normalizer, "tokenizer.ggml.precompiled_charsmap")
    normalize: Callable[[str], str] = processor.Normalize
    return normalize
