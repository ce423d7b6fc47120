"""WordPiece (tokenizer.ggml.model = bert) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import HIDDEN, Metadata, Rules, Vocabulary, flag

# Token ids in the vocabulary of the original BERT models.
_UNKNOWN, _CLS, _SEP = 100, 101, 102


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata: CLS before and SEP after every text.

    Tokens that start a word begin with a space, so a text gets a leading space.
    """
    return Rules(
        bos_id=metadata.get("tokenizer.ggml.cls_token_id", _CLS), sep_id=_SEP, space_prefix=True, has_unknown=True
    )


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids.

    Normalization and word splitting are BERT's own (for Hangul and the marks of Indic scripts, llama.cpp differs).
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
        says = short_repr(str(error))
        raise TokenizerError(f"tokenizer.ggml.tokens cannot be used as a WordPiece vocabulary: {says}") from error
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=strip_accents, lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(text: str) -> list[int]:
        # Unlike `encode`, `encode_batch_fast` releases the GIL.
        ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    return encode


def _piece(text: str, kind: int) -> str:
    """Convert a token's text to WordPiece: GGUF marks the start of a word, WordPiece its continuation."""
    if kind in HIDDEN:
        return text
    return text[1:] if text.startswith("▁") else f"##{text}"
