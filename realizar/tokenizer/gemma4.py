"""BPE of characters with byte fallback (tokenizer.ggml.model = gemma4) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.bpe import encoding, merge_pairs
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, Vocabulary

NEWLINES = r"[^\n]+|\n+"
"""Words are lines and runs of newlines, as in llama.cpp (src/llama-vocab.cpp); no token is made of both."""


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata; BOS is added even where a file says otherwise, as in llama.cpp."""
    return Rules(always_bos=True)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    return text.replace("▁", " ").encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    try:
        tokenizer = Tokenizer(models.BPE(vocabulary.ids, merge_pairs(metadata), byte_fallback=True))
    except TokenizerError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exception
        raise TokenizerError(f"tokenizer.ggml.merges cannot be used: {short_repr(str(error))}") from error
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(NEWLINES), "isolated")
    return encoding(tokenizer)
