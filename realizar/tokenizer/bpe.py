"""Parts of the BPE tokenizers on the `tokenizers` package: the merges of a file, and the calls that encode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.vocabulary import Metadata, Vocabulary, texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def merge_pairs(metadata: Metadata) -> list[tuple[str, str]]:
    """Return the merges of a file, best first; raises TokenizerError if there are none, ValueError if one is no pair.

    "left right" is split at the first space after the first character, because left may begin with a space.
    """
    merges = texts(metadata, "tokenizer.ggml.merges")
    return [(merge[: (cut := merge.index(" ", 1))], merge[cut + 1 :]) for merge in merges]


def bpe_encoder(
    metadata: Metadata, vocabulary: Vocabulary, split: Iterable[str], *, byte_level: bool, ignore_merges: bool = False
) -> Callable[[str], list[int]]:
    """Return the thread-safe function from a text to ids.

    Parameters
    ----------
    metadata : mapping
        Of the file, for the merges.
    vocabulary : Vocabulary
    split : iterable of str
        Patterns, applied one after another, whose matches are words.
    byte_level : bool
        Whether tokens are made of bytes, mapped to printable characters; else they are made of characters, with spaces
        as ▁, and what has no token becomes byte tokens.
    ignore_merges : bool
        See `PreTokenizer`.

    Raises
    ------
    TokenizerError
        If the merges or a pattern cannot be used.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    options = {"ignore_merges": ignore_merges, "byte_fallback": not byte_level}
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary.ids, merge_pairs(metadata), **options))
        words: list[pre_tokenizers.PreTokenizer] = [
            pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split
        ]
    except TokenizerError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exception
        says = short_repr(str(error))
        raise TokenizerError(f"tokenizer.ggml.merges or the pre-tokenizer cannot be used: {says}") from error
    if byte_level:
        words.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    return encoding(tokenizer)


def encoding(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """Return the thread-safe function from a text to ids."""

    def encode(text: str) -> list[int]:
        # Unlike `encode`, `encode_batch_fast` releases the GIL.
        try:
            ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust, and no Exception
                raise
            raise TokenizerError(f"the tokenizers library failed: {error}") from error
        return ids

    return encode
