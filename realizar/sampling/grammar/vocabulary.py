"""A model's tokens for llguidance: their bytes, and which ones are special."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from realizar.tokenizer import Tokenizer


class _Tokens:
    """The attributes that llguidance reads from a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = range(tokenizer.n_vocab)
        self.end_ids = sorted(tokenizer.eog_ids)
        # User-defined tokens (for example runs of spaces) are text; end tokens never are.
        self.special_token_ids = [i for i in ids if tokenizer.is_hidden(i) or i in tokenizer.eog_ids]
        self.tokens = [tokenizer.token_bytes(i) for i in ids]
        if not self.end_ids:  # llguidance needs one: add an id that no mask includes
            self.end_ids = [tokenizer.n_vocab]
            self.special_token_ids.append(tokenizer.n_vocab)
            self.tokens.append(b"<end>")
        self.eos_token_id = self.end_ids[0]
        self.bos_token_id = tokenizer.bos_id
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False)


def vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    """Return llguidance's view of a tokenizer; 152,000 tokens take half a second, so make it once per model."""
    from llguidance import LLTokenizer, TokenizerWrapper

    tokens = _Tokens(tokenizer)
    return LLTokenizer(TokenizerWrapper(tokens), eos_token=tokens.end_ids)
