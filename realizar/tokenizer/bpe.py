"""Parts of the BPE tokenizers on the `tokenizers` package: the merges of a file, and the call that encodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realizar.errors import TokenizerError
from realizar.tokenizer.vocabulary import Metadata, texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def merge_pairs(metadata: Metadata) -> list[tuple[str, str]]:
    """Return the merges of a file, best first; raises TokenizerError if there are none, ValueError if one is no pair.

    "left right" is split at the first space after the first character, because left may begin with a space.
    """
    merges = texts(metadata, "tokenizer.ggml.merges")
    return [(merge[: (cut := merge.index(" ", 1))], merge[cut + 1 :]) for merge in merges]


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
