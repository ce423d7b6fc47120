"""Conversion of tokenizer.json (the `tokenizers` package) to `tokenizer.ggml.*`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from realizar.convert.sentencepiece_model import padded
from realizar.errors import TokenizerError, short_repr
from realizar.tokenizer.pretokenize import Rows, pretokenizer, shipped
from realizar.tokenizer.vocabulary import TokenType

# If several pre-tokenizers split alike, these names are preferred: those that llama.cpp gives to the models of the
# supported architectures.
PREFERRED_NAMES = ("gpt-2", "llama-bpe", "qwen2", "smollm", "gpt-4o", "deepseek-llm", "deepseek-v3", "falcon", "tekken")

# Text that distinguishes the pre-tokenizers: words, contractions, numbers, punctuation, scripts, and whitespace.
PROBE_TEXT = (
    "Hello World's I'LL we've 1 12 123 1234567 3.14e-5 x2y \u00dcn\u00efcode cafe\u0301 \u0391\u03b3 \u043f\u0440 "
    "\u4f60\u597d\u4e16 \u3053\u3093\u306b \u30ab\u30bf \ud55c\uad6d\uc5b4 \u0e2a\u0e27\u0e31 \u0967\u0968\u0969 "
    "a_b-c/d\\e `code` $x+y=z^2 <tag> [a](b) 'quoted' \"double\" ...!!! ?! #%&*@~| \u00ab\u00bb\u201c\u201d\u2026 "
    "\u2014\u2013\n\n\tdef f(x):\n        return  x   # no\r\n\r\n  \n \U0001f680\U0001f680  end. \u3000\u00a0 "
    "\u0130st \u01c5 \u02b0 \u2177 \u00b2\u00b3 HTTPServer camelCase CAPS "
)


def read(path: Path, tokenizer: dict[str, Any], n_vocab: int, extra: Rows) -> dict[str, Any]:
    """Return the metadata of a tokenizer.json, padded to `n_vocab` tokens.

    Raises
    ------
    TokenizerError
        If its model is not supported, or its pre-tokenizer splits text like none of the known ones.
    """
    model = tokenizer.get("model") or {}
    kind = model.get("type") or ("BPE" if "merges" in model else "")
    try:
        if kind == "BPE":
            return (
                _bpe(path, tokenizer, n_vocab, extra)
                if "ByteLevel" in str(tokenizer.get("decoder"))
                else _characters(tokenizer, n_vocab)
            )
        if kind in ("WordPiece", "Unigram"):
            return _wordpiece(tokenizer, n_vocab) if kind == "WordPiece" else _unigram(tokenizer, n_vocab)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TokenizerError(f"{path}: is not in the format of the tokenizers package: {error!r}") from error
    raise TokenizerError(f"{path}: has a model of type {short_repr(kind)}; supported are BPE, WordPiece and Unigram")


def ids_in_library(tokenizer: dict[str, Any]) -> dict[str, int]:
    """Return the ids that the `tokenizers` package gives to the added tokens.

    tokenizers 0.23.3 does not use the ids in the list: a token that the model does not have gets the next id after the
    vocabulary and the tokens before it (findings/tokenizers-added-token-ids.sh).
    """
    vocab = tokenizer["model"]["vocab"]
    known = vocab if isinstance(vocab, dict) else {text: i for i, (text, _) in enumerate(vocab)}
    following, ids = len(vocab), {}
    for token in tokenizer.get("added_tokens", []):
        ids[token["content"]] = known.get(token["content"], following)
        following = max(following, ids[token["content"]] + 1)
    return ids


def _texts(tokenizer: dict[str, Any], n_vocab: int) -> tuple[list[str], list[int]]:
    """Return the token texts by id and their types; ids without a token are UNUSED."""
    vocab: dict[str, int] = dict(tokenizer["model"]["vocab"])
    vocab.update({token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])})
    by_id = {i: text for text, i in vocab.items()}
    n = max(n_vocab, max(by_id) + 1)
    texts = [by_id.get(i, f"[PAD{i}]") for i in range(n)]
    return texts, [int(TokenType.NORMAL if i in by_id else TokenType.UNUSED) for i in range(n)]


def _merges(tokenizer: dict[str, Any]) -> list[str]:
    """Return merges as "left right"; spaces inside a part are encoded as in byte-level BPE."""
    pairs = tokenizer["model"]["merges"]
    return [m if isinstance(m, str) else " ".join(part.replace(" ", "\u0120") for part in m) for m in pairs]


def _bpe(path: Path, tokenizer: dict[str, Any], n_vocab: int, extra: Rows) -> dict[str, Any]:
    """Convert byte-level BPE. Engines that read GGUF leave out NFC, which changes few texts."""
    normalizer = tokenizer.get("normalizer") or {"type": "NFC"}
    others = {str(row.get("type")) for row in normalizer.get("normalizers", [normalizer])} - {"NFC"}
    if others:
        raise TokenizerError(
            f"{path}: normalizes text by {short_repr(sorted(others))}, which GGUF cannot express for byte-level BPE"
        )
    texts, types = _texts(tokenizer, n_vocab)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pretokenizer_name(path, bool(tokenizer["model"].get("ignore_merges")), extra),
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": _merges(tokenizer),
    }


def _characters(tokenizer: dict[str, Any], n_vocab: int) -> dict[str, Any]:
    """Convert BPE of characters: Gemma's, or SentencePiece's in `tokenizers` format, which prepends a space."""
    texts, types = _texts(tokenizer, n_vocab)
    ids = {text: i for i, text in enumerate(texts)}
    for i, text in enumerate(texts):
        if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", text):
            types[i] = int(TokenType.BYTE)
    unknown = tokenizer["model"].get("unk_token")
    if unknown in ids:
        types[ids[unknown]] = int(TokenType.UNKNOWN)
    if "Prepend" in str(tokenizer.get("normalizer")) or "Metaspace" in str(tokenizer.get("pre_tokenizer")):
        scores = _scores(tokenizer, ids)
        return {**padded("llama", texts, scores, types, 0), "tokenizer.ggml.add_space_prefix": True}
    return {
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": _merges(tokenizer),
        "tokenizer.ggml.add_space_prefix": False,
    }


def _scores(tokenizer: dict[str, Any], ids: dict[str, int]) -> list[float]:
    """Return a score for each token: -r for the result of the merge of rank r."""
    scores = [0.0] * len(ids)
    for rank, merge in reversed(list(enumerate(tokenizer["model"]["merges"]))):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        scores[ids[left + right]] = -float(rank + 1)
    return scores


def _wordpiece(tokenizer: dict[str, Any], n_vocab: int) -> dict[str, Any]:
    """Convert WordPiece: GGUF marks the start of a word, BERT its continuation."""
    texts, types = _texts(tokenizer, n_vocab)
    special = {token["id"] for token in tokenizer.get("added_tokens", [])}
    for i, text in enumerate(texts):
        if types[i] == TokenType.NORMAL and i not in special:
            texts[i] = text[2:] if text.startswith("##") else f"\u2581{text}"
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": types,
    }
    for name in ("lowercase", "strip_accents"):
        value = (tokenizer.get("normalizer") or {}).get(name)
        if isinstance(value, bool):
            keys[f"tokenizer.ggml.normalizer.{name}"] = value
    return keys


def _unigram(tokenizer: dict[str, Any], n_vocab: int) -> dict[str, Any]:
    rows = tokenizer["model"]["vocab"]
    types = [int(TokenType.NORMAL)] * len(rows)
    if tokenizer["model"].get("unk_id") is not None:
        types[tokenizer["model"]["unk_id"]] = int(TokenType.UNKNOWN)
    n = max([n_vocab, *(token["id"] + 1 for token in tokenizer.get("added_tokens", []))])
    keys = padded("t5", [text for text, _ in rows], [float(score) for _, score in rows], types, n)
    normalizer = tokenizer.get("normalizer") or {}
    charsmap = [row.get("precompiled_charsmap") for row in normalizer.get("normalizers", [normalizer])]
    if any(charsmap):
        keys["tokenizer.ggml.precompiled_charsmap"] = np.frombuffer(b64decode(next(filter(None, charsmap))), np.uint8)
    keys["tokenizer.ggml.add_space_prefix"] = "Metaspace" in str(tokenizer.get("pre_tokenizer"))
    # SentencePiece's default; tokenizer.json expresses it as a Replace of " {2,}".
    keys["tokenizer.ggml.remove_extra_whitespaces"] = any(charsmap)
    return keys


def pretokenizer_name(path: Path, ignore_merges: bool, extra: Rows) -> str:
    """Return the name of a known pre-tokenizer that splits text like this tokenizer.json.

    Raises
    ------
    TokenizerError
        If there is none.
    """
    from tokenizers import Tokenizer

    pre_tokenizer = Tokenizer.from_file(str(path)).pre_tokenizer
    if pre_tokenizer is None:
        raise TokenizerError(f"{path}: has no pre-tokenizer, but a byte-level one is needed")
    wanted = [word for word, _ in pre_tokenizer.pre_tokenize_str(PROBE_TEXT)]
    names = [*PREFERRED_NAMES, *sorted(set(shipped()) - set(PREFERRED_NAMES)), *sorted(extra)]
    for name in names:
        row = pretokenizer(name, extra)
        if row.byte_level and row.ignore_merges == ignore_merges and _splitter(row.split)(PROBE_TEXT) == wanted:
            return name
    raise TokenizerError(
        f"{path}: its pre-tokenizer is none of the {len(names)} known ones; a plugin can add it with the hook "
        "realizar_pretokenizers (docs/hooks.md)"
    )


def _splitter(split: tuple[str, ...]) -> Callable[[str], list[str]]:
    from tokenizers import Regex, pre_tokenizers

    words = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split]
    rows = pre_tokenizers.Sequence([*words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return lambda text: [word for word, _ in rows.pre_tokenize_str(text)]
