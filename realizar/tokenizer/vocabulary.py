"""Vocabulary: texts, types and special ids of a file's tokens, with corrections for known errors in files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from realizar.errors import GGUFError, ModelFileWarning, TokenizerError, short_repr
from realizar.tokenizer import special_token_names

Metadata = Mapping[str, Any]


class TokenType(IntEnum):
    """The values of tokenizer.ggml.token_type; the same numbers as in SentencePiece."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


HIDDEN = frozenset((TokenType.CONTROL, TokenType.UNKNOWN))
SPECIAL = HIDDEN | {TokenType.USER_DEFINED}


@dataclass(frozen=True)
class Rules:
    """The defaults of a tokenizer model for missing metadata.

    Attributes
    ----------
    bos_id, eos_id : int or None
        Token ids.
    add_bos, add_eos : bool
        Whether `encode` adds them to a text.
    add_sep : bool
        Whether a pair of texts has SEP between them, after the first one's EOS.
    always_bos : bool
        Whether `encode` adds BOS, regardless of the metadata.
    space_prefix : bool
        Whether each text between special tokens gets a leading space.
    sep_id : int or None
        If set, every text is encoded as BOS, text, this token, regardless of the metadata about BOS and EOS.
    has_unknown : bool
        Whether text without a token becomes the unknown token.
    n_unnamed : int
        If set, the file has no texts of its tokens, which are this many.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    add_bos: bool = False
    add_eos: bool = False
    add_sep: bool = False
    always_bos: bool = False
    space_prefix: bool = False
    sep_id: int | None = None
    has_unknown: bool = False
    n_unnamed: int = 0


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one model.

    Attributes
    ----------
    tokens : list of str
        Texts as stored in the file, by id.
    ids : dict of str to int
        Ids by text.
    types : bytes
        One `TokenType` per id.
    bos_id, eos_id : int or None
        Begin-of-sequence and end-of-sequence tokens.
    unknown_id : int or None
        The unknown token, if the file has one.
    eog_ids : frozenset of int
        End-of-generation tokens.
    roles : dict of str to int
        Tokens by their role in `special_token_names.ROLES`.
    before, after : list of int
        Tokens that `encode` adds around a text: BOS and EOS if the model was trained with them, or CLS and SEP.
    between : list of int
        Tokens between the two texts of a pair, after the `after` of the first.
    space_prefix : bool
        See `Rules`.
    strip_after : frozenset of int
        Special tokens after which whitespace is dropped.
    suppressed_ids : tuple of int
        Tokens that must never be sampled.
    """

    tokens: list[str]
    ids: dict[str, int]
    types: bytes
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    eog_ids: frozenset[int]
    roles: dict[str, int]
    before: list[int]
    after: list[int]
    between: list[int]
    space_prefix: bool
    strip_after: frozenset[int]
    suppressed_ids: tuple[int, ...]

    @classmethod
    def from_gguf(cls, metadata: Metadata, rules: Rules) -> Vocabulary:
        """Read tokenizer.ggml.*; raises TokenizerError if keys are missing, of wrong length or contradictory."""
        tokens = [""] * rules.n_unnamed or texts(metadata, "tokenizer.ggml.tokens")
        ids = dict(zip(tokens, range(len(tokens)), strict=True))
        # Empty texts may repeat: they mark unused ids.
        if len(ids) + max(0, tokens.count("") - 1) != len(tokens):
            twice = next(t for i, t in enumerate(tokens) if t and ids[t] != i)
            raise TokenizerError(
                f"tokenizer.ggml.tokens: {short_repr(twice)} occurs more than once; the file is damaged"
            )
        types = _types(metadata, len(tokens))
        bos, eos = (
            token_id(metadata, name, len(tokens), default)
            for name, default in (("bos", rules.bos_id), ("eos", rules.eos_id))
        )
        roles = _roles(metadata, ids, types)
        eog = _endings(roles, ids, types, eos) | set(_listed(metadata, "tokenizer.ggml.eos_token_ids", len(tokens)))
        before = [bos] if rules.always_bos and bos is not None else _added(metadata, "bos", rules.add_bos, bos)
        after = _added(metadata, "eos", rules.add_eos, eos)
        if rules.sep_id is not None:
            before, after = _cls_and_sep(metadata, bos, rules.sep_id, len(tokens))
            between = list[int]()
        else:
            between = _added(metadata, "sep", rules.add_sep, token_id(metadata, "seperator", len(tokens), eos))
        return cls(
            tokens=tokens,
            ids=ids,
            types=bytes(types),
            bos_id=bos,
            eos_id=eos,
            unknown_id=_unknown_id(metadata, len(tokens)) if rules.has_unknown else None,
            eog_ids=eog,
            roles=roles,
            before=before,
            after=after,
            between=between,
            space_prefix=rules.space_prefix,
            strip_after=_strip_after(metadata, ids, types),
            suppressed_ids=_listed(metadata, "tokenizer.ggml.suppress_tokens", len(tokens)),
        )


def texts(metadata: Metadata, key: str) -> list[str]:
    """Return a list of str from the metadata; raises TokenizerError if it is missing, empty or of another type."""
    values = metadata.get(key)
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)) or not values:
        found = "nothing" if values is None else "an empty list" if isinstance(values, list) else type(values).__name__
        raise TokenizerError(f"{key}: must be a list of strings, found {found}; the file has no usable tokenizer")
    listed = list(values)
    if not isinstance(listed[0], str):
        raise TokenizerError(f"{key}: must be a list of strings, found {type(listed[0]).__name__}")
    return listed


def numbers(metadata: Metadata, key: str, n: int, kinds: str) -> list[Any]:
    """Return n numbers of these numpy kinds from the metadata; raises TokenizerError otherwise."""
    values = metadata.get(key)
    if values is None or isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise TokenizerError(f"{key}: must be {n} numbers, one per token, found {type(values).__name__}")
    if len(values) != n:
        raise TokenizerError(f"{key}: must be {n} numbers, one per token, found {len(values)}")
    array = np.asarray(values)
    if array.dtype.kind not in kinds:
        raise TokenizerError(f"{key}: must be {n} numbers, one per token, found type {array.dtype}")
    listed: list[Any] = array.tolist()
    return listed


def flag(metadata: Metadata, key: str, default: bool) -> bool:
    """Return a bool from the metadata; raises TokenizerError if it has another type."""
    value = metadata.get(key, default)
    if not isinstance(value, bool):
        raise TokenizerError(f"{key}: must be a bool, found {short_repr(value)}; the file is damaged")
    return value


def token_id(metadata: Metadata, name: str, n_vocab: int, default: int | None = None) -> int | None:
    """Return tokenizer.ggml.{name}_token_id, or the default; None if it is outside the vocabulary.

    An id outside the vocabulary (some files have -1) raises a `ModelFileWarning` and counts as missing.
    """
    key = f"tokenizer.ggml.{name}_token_id"
    found = metadata.get(key)
    for value in (found, default):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TokenizerError(f"{key}: must be an integer, found {short_repr(value)}; the file is damaged")
        if value is not None and 0 <= value < n_vocab:
            return value
        if value is not None and value is found:
            says = f"{key}: there is no token {value}, ids are 0 to {n_vocab - 1}; the key is ignored"
            warnings.warn(says, ModelFileWarning, stacklevel=2)
    return None


def _unknown_id(metadata: Metadata, n_vocab: int) -> int | None:
    """Return tokenizer.ggml.unknown_token_id, which must be in the vocabulary because most texts need it."""
    key = "tokenizer.ggml.unknown_token_id"
    found = metadata.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < n_vocab:
        raise GGUFError(
            f"{key}: must be a token id, 0 to {n_vocab - 1}, found {short_repr(found)}; the file is damaged"
        )
    return found


def scores(metadata: Metadata, n: int) -> list[float]:
    """Return the score of each token; 0 for all if the file has none, as in llama.cpp."""
    key = "tokenizer.ggml.scores"
    return numbers(metadata, key, n, "iuf") if key in metadata else [0.0] * n


def special_ids(types: bytes | bytearray) -> list[int]:
    """Return the ids of types in SPECIAL, ascending."""
    ids: list[int] = np.flatnonzero(np.isin(np.frombuffer(types, np.uint8), list(SPECIAL))).tolist()
    return ids


def _types(metadata: Metadata, n: int) -> bytearray:
    if "tokenizer.ggml.token_type" not in metadata:
        return bytearray([TokenType.NORMAL]) * n
    values = numbers(metadata, "tokenizer.ggml.token_type", n, "iu")
    known_types = frozenset(TokenType)
    if not known_types.issuperset(values):
        values = [v if v in known_types else TokenType.UNDEFINED for v in values]
    return bytearray(values)


def _added(metadata: Metadata, name: str, default: bool, token: int | None) -> list[int]:
    """Return the BOS, EOS or SEP token as a list if it is added, otherwise an empty list."""
    key = f"tokenizer.ggml.add_{name}_token"
    asked = flag(metadata, key, False)
    if asked and token is None:
        raise TokenizerError(f"{key} is true, but tokenizer.ggml.{name}_token_id is missing or outside the vocabulary")
    return [token] if token is not None and (asked if key in metadata else default) else []


def _cls_and_sep(metadata: Metadata, bos: int | None, default: int, n: int) -> tuple[list[int], list[int]]:
    """Return CLS (called BOS in files) and SEP (misspelled "seperator" in the format)."""
    sep = token_id(metadata, "seperator", n, default)
    if bos is None or sep is None:
        raise TokenizerError(
            "tokenizer.ggml.bos_token_id and seperator_token_id: a WordPiece model needs both in its vocabulary "
            f"of {n} tokens; the file is damaged"
        )
    return [bos], [sep]


def _roles(metadata: Metadata, ids: dict[str, int], types: bytearray) -> dict[str, int]:
    """Find the tokens of `special_token_names.ROLES` by key or text; tokens found by text get type CONTROL."""
    roles: dict[str, int] = {}
    for role, names in special_token_names.ROLES.items():
        token = token_id(metadata, role, len(types))
        if token is None and role in special_token_names.OLD_KEYS:
            token = token_id(metadata, special_token_names.OLD_KEYS[role], len(types))
        if token is None and (found := [ids[name] for name in names if name in ids]):
            token = min(found)
            types[token] = TokenType.CONTROL
        if token is not None:
            roles[role] = token
    return roles


def _endings(roles: dict[str, int], ids: dict[str, int], types: bytearray, eos: int | None) -> frozenset[int]:
    """Find the end-of-generation ids and set the types of tokens recognized by their text."""
    named = {name: ids[name] for name in special_token_names.ENDINGS if name in ids}
    for token in named.values():
        types[token] = TokenType.CONTROL
    for name in special_token_names.RENDERED:
        if name in ids:
            types[ids[name]] = TokenType.USER_DEFINED
    eog = {roles[role] for role in special_token_names.ENDING_ROLES if role in roles} | set(named.values())
    eog |= set() if eos is None else {eos}
    for witnesses, name in special_token_names.NOT_ENDINGS:
        if name in named and all(ids.get(w) in eog for w in witnesses):
            eog.discard(named[name])
            types[named[name]] = TokenType.NORMAL if name == "</s>" else TokenType.USER_DEFINED
    return frozenset(eog)


def _strip_after(metadata: Metadata, ids: dict[str, int], types: bytearray) -> frozenset[int]:
    model = str(metadata.get("general.name", "")).lower()
    if "phi-3" not in model and "phi3" not in model:
        return frozenset()
    return frozenset(special_ids(types)) - {ids[t] for t in special_token_names.PHI3_KEEPS_SPACE if t in ids}


def _listed(metadata: Metadata, key: str, n_vocab: int) -> tuple[int, ...]:
    """Return token ids from the metadata, ascending; ids outside the vocabulary raise a `ModelFileWarning`."""
    values = metadata.get(key)
    if values is None:
        return ()
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TokenizerError(f"{key}: must be a list of token ids, found {short_repr(values)}; the file is damaged")
    is_token = (array >= 0) & (array < n_vocab)
    if not is_token.all():
        outside = short_repr(array[~is_token].tolist())
        says = f"{key}: there are no tokens {outside}, ids are 0 to {n_vocab - 1}; they are ignored"
        warnings.warn(says, ModelFileWarning, stacklevel=2)
    ids: list[int] = np.unique(array[is_token]).astype(int).tolist()
    return tuple(ids)
