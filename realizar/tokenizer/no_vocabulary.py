"""No vocabulary (tokenizer.ggml.model = none or no_vocab): tokens have numbers, but no texts."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, Vocabulary


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the number of tokens, which is all that the file says about them.

    Raises
    ------
    TokenizerError
        If it does not even say that.
    """
    key = f"{metadata.get('general.architecture')}.vocab_size"
    n = metadata.get(key)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise TokenizerError(f"{key}: a file without a vocabulary needs the number of tokens, found {short_repr(n)}")
    return Rules(n_unnamed=n)


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token: none."""
    return b""


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder, which raises TokenizerError for any text."""

    def encode(text: str) -> list[int]:
        raise TokenizerError("this model has no vocabulary, so it cannot read text; pass a list of token ids")

    return encode
