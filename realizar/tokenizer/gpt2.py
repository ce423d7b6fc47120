"""Byte-level BPE (tokenizer.ggml.model = gpt2) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError
from realizar.tokenizer.bpe import bpe_encoder
from realizar.tokenizer.pretokenize import PreTokenizer, Rows, pretokenizer
from realizar.tokenizer.vocabulary import Metadata, Rules, Vocabulary


def _byte_of() -> dict[str, int]:
    """Return the inverse of GPT-2's map from bytes to printable characters.

    Printable bytes map to themselves; the others, in ascending order, to the characters from U+0100 on
    (`bytes_to_unicode` in OpenAI's gpt-2/src/encoder.py).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


BYTE_OF = _byte_of()


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata; whether BOS and SEP are added depends on the pre-tokenizer."""
    found = row(metadata, extra)
    return Rules(add_bos=found.add_bos, add_sep=found.add_sep)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    try:
        return bytes([BYTE_OF[c] for c in text])
    except KeyError:  # not in the byte alphabet: the token's text itself
        return text.encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids."""
    found = row(metadata, extra)
    return bpe_encoder(
        metadata, vocabulary, found.split, byte_level=found.byte_level, ignore_merges=found.ignore_merges
    )


def row(metadata: Metadata, extra: Rows) -> PreTokenizer:
    """Return the pre-tokenizer that the file names; raises TokenizerError if it is unknown or for other models."""
    name = str(metadata.get("tokenizer.ggml.pre", "default"))
    found = pretokenizer(name, extra)
    if not found.byte_level and not found.escape_whitespaces:
        raise TokenizerError(
            f"tokenizer.ggml.pre: {name!r} splits words at spaces and drops them; tokenizer.ggml.model = gpt2 needs "
            "tokens for spaces: byte_level or escape_whitespaces"
        )
    return found
