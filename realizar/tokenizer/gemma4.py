"""BPE of characters with byte fallback (tokenizer.ggml.model = gemma4) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.tokenizer.bpe import bpe_encoder
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
    return bpe_encoder(metadata, vocabulary, (NEWLINES,), byte_level=False)
