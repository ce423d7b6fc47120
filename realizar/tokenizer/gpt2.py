"""Byte-level BPE (tokenizer.ggml.model = gpt2) on the `tokenizers` package."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.bpe import encoding, merge_pairs
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
    row = _row(metadata, extra)
    return Rules(add_bos=row.add_bos, add_sep=row.add_sep)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    try:
        return bytes([BYTE_OF[c] for c in text])
    except KeyError:  # not in the byte alphabet: the token's text itself
        return text.encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    row = _row(metadata, extra)
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary.ids, merge_pairs(metadata), ignore_merges=row.ignore_merges))
        words = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in row.split]
    except TokenizerError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exception
        says = short_repr(str(error))
        raise TokenizerError(f"tokenizer.ggml.merges or the pre-tokenizer cannot be used: {says}") from error
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*words, byte_level])
    return encoding(tokenizer)


def _row(metadata: Metadata, extra: Rows) -> PreTokenizer:
    name = str(metadata.get("tokenizer.ggml.pre", "default"))
    row = pretokenizer(name, extra)
    if not row.byte_level:
        raise TokenizerError(
            f"tokenizer.ggml.pre: {name!r} is not byte-level, which tokenizer.ggml.model = gpt2 requires"
        )
    return row
