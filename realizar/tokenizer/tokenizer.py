"""Tokenizer: texts to token ids and back, as the model's own tokenizer did it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Protocol

from realizar.errors import ParameterError, TokenizerError, shown
from realizar.forks import Lock
from realizar.tokenizer import gpt2, llama, unigram, whitespace, wordpiece
from realizar.tokenizer.chat import ChatTemplate
from realizar.tokenizer.fim import Fim, Order
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.special_tokens import SpecialTokens
from realizar.tokenizer.stream import StreamDecoder
from realizar.tokenizer.vocabulary import HIDDEN, SPECIAL, Metadata, Rules, TokenType, Vocabulary

Encode = Callable[[str], list[int]]


class Kind(Protocol):
    """What the module of a kind of tokenizer offers; see gpt2.py for the words."""

    def rules(self, metadata: Metadata, extra: Rows) -> Rules: ...  # noqa: D102
    def token_bytes(self, text: str) -> bytes: ...  # noqa: D102
    def encoder(self, metadata: Metadata, vocabulary: Vocabulary, extra: Rows) -> Encode: ...  # noqa: D102


# tokenizer.ggml.model -> the module that knows it
KINDS: dict[str, Kind] = {
    "gpt2": gpt2, "llama": llama, "bert": wordpiece, "t5": unigram, "whitespace": whitespace,
}  # fmt: skip


class Tokenizer:
    """The tokenizer of one model; may be used by many threads at once.

    Attributes
    ----------
    n_vocab : int
        How many token ids there are.
    bos_id, eos_id : int or None
        Beginning and end of a text.
    eog_ids : frozenset of int
        Each of these ends a generation.
    eot_id : int or None
        The one of them that ends a turn of a conversation, else a text.
    suppressed_ids : tuple of int
        Tokens that are never to be sampled.
    fim : Fim or None
        The tokens for filling in, where the model has them.
    chat_template : ChatTemplate or None
        How messages become a prompt, where the file says it.
    tool_template : ChatTemplate or None
        The same with tools, where the file has another template for that.
    """

    def __init__(
        self,
        kind: Kind,
        vocabulary: Vocabulary,
        build: Callable[[], Encode],
        chat: str | None,
        tool_use: str | None = None,
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
        self.eot_id = vocabulary.slots.get("eot", vocabulary.eos_id)
        self.suppressed_ids = vocabulary.suppressed_ids
        self.fim = Fim.of(vocabulary.slots)
        bos, eos = ("" if i is None else vocabulary.tokens[i] for i in (self.bos_id, self.eos_id))
        self.chat_template = None if chat is None else ChatTemplate(chat, bos, eos)
        self.tool_template = None if tool_use is None else ChatTemplate(tool_use, bos, eos)

    @classmethod
    def from_gguf(cls, metadata: Metadata, pretokenizers: Rows = MappingProxyType({})) -> Tokenizer:
        """Read the tokenizer of a GGUF file; the costly part is built at the first `encode`.

        Parameters
        ----------
        metadata : mapping of str to value
            The metadata of the file; it must stay readable until the first `encode`.
        pretokenizers : mapping of str to mapping
            Rows from plugins (hook realizar_pretokenizers): tokenizer.ggml.pre to split patterns and flags.

        Raises
        ------
        TokenizerError
            The kind or the pre-tokenizer is unknown, or the vocabulary is damaged.
        GGUFError
            The unknown token, which the kind needs, is outside the vocabulary.
        """
        model = metadata.get("tokenizer.ggml.model")
        kind = KINDS.get(model) if isinstance(model, str) else None
        if kind is None:
            raise TokenizerError(f"tokenizer.ggml.model: {shown(model)} is unknown; known are {', '.join(KINDS)}")
        vocabulary = Vocabulary.from_gguf(metadata, kind.rules(metadata, pretokenizers))
        chat, tool_use = (metadata.get(f"tokenizer.chat_template{which}") for which in ("", ".tool_use"))
        return cls(
            kind,
            vocabulary,
            lambda: kind.encoder(metadata, vocabulary, pretokenizers),
            chat if isinstance(chat, str) else None,
            tool_use if isinstance(tool_use, str) else None,
        )

    @property
    def tokens(self) -> Sequence[str]:
        """What the file calls each token."""
        return self._vocabulary.tokens

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
            Must be encodable as UTF-8: lone surrogates are an error.
        add_special : bool
            Put BOS and EOS around it, as far as the model was trained with them.
        parse_special : bool
            Read control tokens such as ``<|im_end|>`` out of the text. Only for texts that the caller vouches for:
            rendered chat templates, not a user's words.

        Raises
        ------
        TokenizerError
            The text is no valid Unicode.
        """
        _check_text(text)
        vocabulary = self._vocabulary
        ids = self._parts(text, parse_special, " " if vocabulary.space_prefix else "")
        return [*vocabulary.before, *ids, *vocabulary.after] if add_special else ids

    def _parts(self, text: str, parse_special: bool, space: str) -> list[int]:
        """Return the ids of special tokens and of the texts between them, each with `space` in front."""
        words, ids = self._encoder(), list[int]()
        for part in self._special.split(text, parse_special):
            ids += [part] if isinstance(part, int) else words(f"{space}{part}")
        return ids

    def infill(self, prefix: str, suffix: str, order: Order | None = None) -> list[int]:
        """Return the prompt that a model goes on from with what belongs between two texts.

        Parameters
        ----------
        prefix, suffix : str
            What is in front of the gap and behind it; names of control tokens in them are plain text.
        order : {"psm", "spm"}, optional
            See `fim.Fim.order`, which is the default.

        Raises
        ------
        ParameterError
            If the model has no tokens for it, or not for this order.
        TokenizerError
            If a text is no valid Unicode.
        """
        if self.fim is None:
            raise ParameterError("infill: this model's file names no tokens for a prefix and a suffix; use generate")
        _check_text(suffix)
        before = self.encode(prefix, add_special=False)
        # A suffix goes on in the middle of a text: it gets no space in front, as in transformers and mistral_common.
        behind = self._parts(suffix, parse_special=False, space="")
        return [*self._vocabulary.before, *self.fim.prompt(before, behind, order)]

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Return the text of token ids; bytes that are no UTF-8 become U+FFFD.

        Parameters
        ----------
        ids : iterable of int
            Token ids; the first one begins the text.
        skip_special : bool
            Leave out control tokens.

        Raises
        ------
        TokenizerError
            An id is outside the vocabulary, or these are no ids.
        """
        decoder = self.stream(skip_special)
        try:
            listed = list(ids)
        except TypeError:
            raise TokenizerError(f"token ids: a list of integers is needed, found {shown(ids)}") from None
        return "".join(map(decoder.push, listed)) + decoder.flush()

    def parts(self, text: str) -> Iterator[str | int]:
        """Yield the ids of the control tokens whose names are in a text, and the texts between them."""
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
        self, skip_special: bool = True, after: int | None = None, n_known: int = 0,
        shown: frozenset[int] = frozenset(),
    ) -> StreamDecoder:  # fmt: skip
        """Return a decoder that takes ids one by one, for text that is shown while it is made.

        Parameters
        ----------
        skip_special : bool
            Leave out control tokens.
        after : int or None
            The id in front of the first one; None where the text begins. SentencePiece models spell a space in front
            of a text's first word, which is dropped there and kept in the middle of a text.
        n_known : int
            So many bytes of the first token are known already and are left out.
        shown : frozenset of int
            Special tokens that are text like any other.
        """
        starts = self._vocabulary.space_prefix and not n_known and (after is None or self.is_special(after))
        return StreamDecoder(self, skip_special, starts, n_known, shown)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token as it stands in a text; special tokens give their name, unused ones nothing.

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
        """Tell whether a token is cut out of a text before the tokenizer proper sees it."""
        return self._type(token) in SPECIAL

    def is_hidden(self, token: int) -> bool:
        """Tell whether a token steers the model and is no part of the text."""
        return self._type(token) in HIDDEN

    @property
    def space_prefix(self) -> bool:
        """Whether texts get a space in front before they are encoded."""
        return self._vocabulary.space_prefix

    def _type(self, token: int) -> int:
        try:
            index = operator.index(token)
        except TypeError:
            raise TokenizerError(f"token id {shown(token)}: needs an integer, found {type(token).__name__}") from None
        if not 0 <= index < self.n_vocab:
            raise TokenizerError(f"token id {index}: the vocabulary has ids 0 to {self.n_vocab - 1}")
        return self._vocabulary.types[index]

    def _encoder(self) -> Encode:
        if self._encode is not None:  # no lock then, which a child of fork() could find held for ever
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
            f"the text is no valid Unicode: a lone surrogate {text[error.start]!r} at character {error.start}; "
            "it was probably read with errors='surrogateescape'"
        ) from None


def _byte(text: str) -> bytes:
    """Return the byte of a BYTE token, whose text is <0xNN>."""
    try:
        return bytes([int(text[3:-1], 16)])
    except ValueError:
        raise TokenizerError(f"the byte token {text!r} is not of the form <0xNN>; the file is damaged") from None
