"""WordPiece (tokenizer.ggml.model = bert) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, shown
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import HIDDEN, Metadata, Rules, Vocabulary, flag

# The ids of the vocabulary that the first BERT models shared.
_UNKNOWN, _CLS, _SEP = 100, 101, 102


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return what holds where the metadata says nothing: a text stands between CLS and SEP, always.

    A word is spelled with a space in front, so a text has one in front of its first word.
    """
    return Rules(
        bos_id=metadata.get("tokenizer.ggml.cls_token_id", _CLS), sep_id=_SEP, space_prefix=True, has_unknown=True
    )


def token_bytes(text: str) -> bytes:
    """Return the bytes that a NORMAL token stands for."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the tokenizer; the result maps a text without special tokens to ids and may run in many threads.

    Words are cut out and normalized as in BERT itself (Hangul and the marks of Indian scripts, too, where llama.cpp
    does otherwise).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    unknown = _UNKNOWN if vocabulary.unknown_id is None else vocabulary.unknown_id
    if unknown >= len(vocabulary.tokens):
        raise TokenizerError("tokenizer.ggml.unknown_token_id: a WordPiece vocabulary needs it; the file is damaged")
    spelled = list(map(_piece, vocabulary.tokens, vocabulary.types))
    pieces = {text: i for i, text in enumerate(spelled)}
    lowercase = flag(metadata, "tokenizer.ggml.normalizer.lowercase", True)
    strip_accents = flag(metadata, "tokenizer.ggml.normalizer.strip_accents", lowercase)
    try:
        tokenizer = Tokenizer(models.WordPiece(pieces, unk_token=spelled[unknown]))
    except Exception as error:  # `tokenizers` raises bare Exception
        says = shown(str(error))
        raise TokenizerError(f"tokenizer.ggml.tokens cannot be used as a WordPiece vocabulary: {says}") from error
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=strip_accents, lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(text: str) -> list[int]:
        # Unlike `encode`, this one lets other threads run meanwhile.
        ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    return encode


def _piece(text: str, kind: int) -> str:
    """Return a token as WordPiece spells it: a file marks the beginning of a word, WordPiece its continuation."""
    if kind in HIDDEN:
        return text
    return text[1:] if text.startswith("▁") else f"##{text}"
