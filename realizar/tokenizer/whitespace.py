"""BPE of characters within words (tokenizer.ggml.model = whitespace, Jina's Chinese embeddings) on `tokenizers`."""

from __future__ import annotations

from collections.abc import Callable

from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import Metadata, Rules, Vocabulary, flag, texts


def rules(metadata: Metadata, extra: Rows) -> Rules:
    """Return the defaults for missing metadata."""
    return Rules()


def token_bytes(text: str) -> bytes:
    """Return the bytes of a NORMAL token."""
    return text.encode()


def encoder(metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Callable[[str], list[int]]:
    """Build the encoder: a thread-safe function from text without special tokens to ids.

    Words are separated by whitespace, which is not part of any token. Characters without a token are dropped, as in
    llama.cpp.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    absent = len(vocabulary.tokens)
    pairs = [merge.split(" ", 1) for merge in texts(metadata, "tokenizer.ggml.merges")]
    try:
        merges = [(left, right) for left, right in pairs]
        # Words contain no space, so " " serves as the unknown token; it also separates the characters around it.
        ids = {**vocabulary.ids, " ": absent}
        tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=" ", byte_fallback=True))
    except Exception as error:  # `tokenizers` raises bare Exception
        raise TokenizerError(f"tokenizer.ggml.merges cannot be used: {short_repr(str(error))}") from error
    if flag(metadata, "tokenizer.ggml.normalizer.lowercase", False):
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")

    def encode(text: str) -> list[int]:
        # Unlike `encode`, `encode_batch_fast` releases the GIL.
        ids: list[int] = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return [token for token in ids if token != absent]

    return encode
