"""Tokenizer: converts text to token ids and back, exactly as the model's original tokenizer."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Protocol

from realizar.errors import ParameterError, TokenizerError, short_repr
from realizar.forks import Lock
from realizar.tokenizer import (
    characters,
    gemma4,
    gpt2,
    llama,
    no_vocabulary,
    rwkv,
    unigram,
    whitespace,
    wordpiece,
)
from realizar.tokenizer.chat import ChatTemplate
from realizar.tokenizer.fim import Fim, Order
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.special_tokens import SpecialTokens
from realizar.tokenizer.stream import StreamDecoder
from realizar.tokenizer.vocabulary import HIDDEN, SPECIAL, Metadata, Rules, TokenType, Vocabulary

Encode = Callable[[str], list[int]]


class Kind(Protocol):
    """The interface of a tokenizer module; see gpt2.py for its docstrings."""

    def rules(self, metadata: Metadata, extra: Rows) -> Rules: ...  # noqa: D102
    def token_bytes(self, text: str) -> bytes: ...  # noqa: D102
    def encoder(self, metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Encode: ...  # noqa: D102


# tokenizer.ggml.model -> module
KINDS: dict[str, Kind] = {
    "gpt2": gpt2, "llama": llama, "gemma4": gemma4, "bert": wordpiece, "t5": unigram, "whitespace": whitespace,
    "rwkv": rwkv, "none": no_vocabulary, "no_vocab": no_vocabulary,
}  # fmt: skip


class Tokenizer:
    """The tokenizer of one model. Thread-safe.

    Attributes
    ----------
    n_vocab : int
        Size of the vocabulary.
    bos_id, eos_id : int or None
        Begin-of-sequence and end-of-sequence tokens.
    eog_ids : frozenset of int
        End-of-generation tokens.
    eot_id : int or None
        End-of-turn token; EOS if the model has none.
    suppressed_ids : tuple of int
        Tokens that must never be sampled.
    fim : Fim or None
        Fill-in-the-middle tokens, if the model has them.
    chat_template : ChatTemplate or None
        The file's chat template, if it has one.
    tool_template : ChatTemplate or None
        The file's separate chat template for tools, if it has one.
    rerank_template : str or None
        What a reranker reads, with {query} and {document} in it, if the file says so.
    """

    def __init__(
        self,
        kind: Kind,
        vocabulary: Vocabulary,
        build: Callable[[], Encode],
        chat: str | None,
        tool_use: str | None = None,
        rerank: str | None = None,
    ) -> None:
        self._kind = kind
        self._vocabulary = vocabulary
        self._special = SpecialTokens(vocabulary)
        self._build = build
        self._encode: Encode | None = None
        self._lock = Lock()
        self.n_vocab = len(vocabulary.tokens)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.eog_ids = vocabulary.eog_ids
        self.eot_id = vocabulary.roles.get("eot", vocabulary.eos_id)
        self.suppressed_ids = vocabulary.suppressed_ids
        self.fim = Fim.of(vocabulary.roles)
        self.chat_template = None if chat is None else self.template(chat)
        self.tool_template = None if tool_use is None else self.template(tool_use)
        self.rerank_template = rerank

    @classmethod
    def from_gguf(cls, metadata: Metadata, pretokenizers: Rows = MappingProxyType({})) -> Tokenizer:
        """Read the tokenizer from GGUF metadata; the expensive part is built at the first `encode`.

        Parameters
        ----------
        metadata : mapping of str to value
            The file's metadata; must stay readable until the first `encode`.
        pretokenizers : mapping of str to mapping
            Rows from plugins (hook realizar_pretokenizers): tokenizer.ggml.pre to split patterns and flags.

        Raises
        ------
        TokenizerError
            The tokenizer model or the pre-tokenizer is unknown, or the vocabulary is damaged.
        GGUFError
            The unknown token is outside the vocabulary.
        """
        model = metadata.get("tokenizer.ggml.model")
        kind = KINDS.get(model) if isinstance(model, str) else None
        if kind is None:
            raise TokenizerError(f"tokenizer.ggml.model: {short_repr(model)} is unknown; known are {', '.join(KINDS)}")
        if kind is gpt2 and not gpt2.row(metadata, pretokenizers).byte_level:
            kind = characters
        vocabulary = Vocabulary.from_gguf(metadata, kind.rules(metadata, pretokenizers))
        templates = (metadata.get(f"tokenizer.chat_template{which}") for which in ("", ".tool_use", ".rerank"))
        return cls(
            kind,
            vocabulary,
            lambda: kind.encoder(metadata, vocabulary, pretokenizers),
            *(template if isinstance(template, str) else None for template in templates),
        )

    def template(self, source: str) -> ChatTemplate:
        """Return a chat template for this model's tokens."""
        bos, eos = ("" if i is None else self.tokens[i] for i in (self.bos_id, self.eos_id))
        return ChatTemplate(source, bos, eos)

    def replace_template(self, source: str) -> None:
        """Use another chat template in place of those of the file, before any conversation is rendered."""
        self.chat_template = self.template(source)
        self.tool_template = None

    @property
    def tokens(self) -> Sequence[str]:
        """The token texts as stored in the file, by id."""
        return self._vocabulary.tokens

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
            Must be encodable as UTF-8; lone surrogates raise an error.
        add_special : bool
            Add BOS and EOS if the model was trained with them.
        parse_special : bool
            Recognize control tokens such as ``<|im_end|>`` in the text. Only for trusted text such as rendered chat
            templates, not for user input.

        Raises
        ------
        TokenizerError
            The text is not valid Unicode.
        """
        _check_text(text)
        ids = self._parts(text, parse_special, " " if self._vocabulary.space_prefix else "")
        return [*self.ids_before, *ids, *self.ids_after] if add_special else ids

    @property
    def ids_before(self) -> Sequence[int]:
        """Ids that begin a text, such as BOS, if the model was trained with them."""
        return self._vocabulary.before

    @property
    def ids_after(self) -> Sequence[int]:
        """Ids that end a text, such as EOS, if the model was trained with them."""
        return self._vocabulary.after

    @property
    def ids_between(self) -> Sequence[int]:
        """Ids between the two texts of a pair, in addition to those that end the first."""
        return self._vocabulary.between

    def _parts(self, text: str, parse_special: bool, space: str) -> list[int]:
        """Return the ids of special tokens and of the texts between them, each prefixed with `space`."""
        words, ids = self._encoder(), list[int]()
        for part in self._special.split(text, parse_special):
            ids += [part] if isinstance(part, int) else words(f"{space}{part}")
        return ids

    def infill(self, prefix: str, suffix: str, order: Order | None = None) -> list[int]:
        """Return a fill-in-the-middle prompt; the model continues it with the text between prefix and suffix.

        Parameters
        ----------
        prefix, suffix : str
            The texts before and after the gap; control tokens in them are treated as plain text.
        order : {"psm", "spm"}, optional
            Defaults to `fim.Fim.order`.

        Raises
        ------
        ParameterError
            If the model has no FIM tokens, or does not support the order.
        TokenizerError
            If a text is not valid Unicode.
        """
        if self.fim is None:
            raise ParameterError("infill: this model has no fill-in-the-middle tokens; use generate")
        _check_text(suffix)
        before_gap = self.encode(prefix, add_special=False)
        # The suffix is not the start of a text, so it gets no leading space, as in transformers and mistral_common.
        after_gap = self._parts(suffix, parse_special=False, space="")
        return [*self.ids_before, *self.fim.prompt(before_gap, after_gap, order)]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Return the text of token ids; invalid UTF-8 becomes U+FFFD.

        Parameters
        ----------
        ids : iterable of int
            Token ids from the start of a text.
        skip_special : bool
            Omit control tokens.

        Raises
        ------
        TokenizerError
            An id is outside the vocabulary, or the argument is not a list of integers.
        """
        decoder = self.stream(skip_special)
        try:
            listed = list(ids)
        except TypeError:
            raise TokenizerError(f"token ids: must be a list of integers, found {short_repr(ids)}") from None
        return "".join(map(decoder.push, listed)) + decoder.flush()

    def parts(self, text: str) -> Iterator[str | int]:
        """Split a text into ids of the control tokens it contains and the texts between them."""
        between = ""
        for part in self._special.split(text, parse_special=True):
            if isinstance(part, str) or not self.is_hidden(part):
                between += part if isinstance(part, str) else self.token_bytes(part).decode()
                continue
            if between:
                yield between
            between = ""
            yield part
        if between:
            yield between

    def stream(
        self, skip_special: bool = True, after: int | None = None, n_healed: int = 0,
        visible_ids: frozenset[int] = frozenset(),
    ) -> StreamDecoder:  # fmt: skip
        """Return an incremental decoder for streaming.

        Parameters
        ----------
        skip_special : bool
            Omit control tokens.
        after : int or None
            The id before the first one; None at the start of a text. SentencePiece models encode a space before the
            first word of a text; it is dropped at the start and kept elsewhere.
        n_healed : int
            Number of leading bytes of the first token to omit, because the caller already has them.
        visible_ids : frozenset of int
            Special tokens to output like ordinary text.
        """
        starts = self._vocabulary.space_prefix and not n_healed and (after is None or self.is_special(after))
        return StreamDecoder(self, skip_special, starts, n_healed, visible_ids)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token in text; special tokens return their name, unused ones nothing.

        Raises
        ------
        TokenizerError
            The id is outside the vocabulary.
        """
        token_type = self._type(token)
        text = self._vocabulary.tokens[token]
        if token_type == TokenType.NORMAL:
            return self._kind.token_bytes(text)
        if token_type == TokenType.BYTE:
            return _byte(text)
        return text.encode() if token_type in SPECIAL else b""

    def is_special(self, token: int) -> bool:
        """Whether a token is a control, unknown or user-defined token."""
        return self._type(token) in SPECIAL

    def is_hidden(self, token: int) -> bool:
        """Whether a token is a control or unknown token, which is not part of the text."""
        return self._type(token) in HIDDEN

    @property
    def space_prefix(self) -> bool:
        """Whether texts get a leading space before they are encoded."""
        return self._vocabulary.space_prefix

    def _type(self, token: int) -> int:
        try:
            index = operator.index(token)
        except TypeError:
            raise TokenizerError(
                f"token id {short_repr(token)}: must be an integer, found {type(token).__name__}"
            ) from None
        if not 0 <= index < self.n_vocab:
            raise TokenizerError(f"token id {index}: the vocabulary has ids 0 to {self.n_vocab - 1}")
        return self._vocabulary.types[index]

    def _encoder(self) -> Encode:
        if self._encode is not None:  # without the lock, which a fork()ed child could find held forever
            return self._encode
        with self._lock:
            if self._encode is None:
                self._encode = self._build()
            return self._encode


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TokenizerError(f"the text must be a str, found {type(text).__name__}; decode bytes as UTF-8 first")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"the text is not valid Unicode: a lone surrogate {text[error.start]!r} at character {error.start}; "
            "it was probably read with errors='surrogateescape'"
        ) from None


def _byte(text: str) -> bytes:
    """Return the byte of a BYTE token with the text <0xNN>."""
    try:
        return bytes([int(text[3:-1], 16)])
    except ValueError:
        raise TokenizerError(f"the byte token {text!r} does not have the form <0xNN>; the file is damaged") from None
