"""The tokenizer of a converted file: tokenizer.model or tokenizer.json converted to `tokenizer.ggml.*`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from realizar.arch.checkpoint import Config
from realizar.convert import sentencepiece_model, tokenizer_json
from realizar.convert.checkpoint_folder import read_json
from realizar.errors import ModelFileWarning, TokenizerError, short_repr
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.special_token_names import GEMMA4_RENDERED
from realizar.tokenizer.vocabulary import TokenType

SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
# Role in tokenizer_config.json and config.json -> name in GGUF's keys.
ROLES = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask",
}  # fmt: skip
FALLBACK_ROLES = {"bos": "cls", "eos": "sep"}  # BERT's names of the tokens before and after a text


def vocabulary(folder: Path, config: Config, pretokenizers: Rows) -> dict[str, Any]:
    """Return the metadata of a folder's tokenizer; empty if it has none.

    Parameters
    ----------
    folder : Path
    config : dict
        Content of config.json.
    pretokenizers : mapping
        Rows from plugins.

    Raises
    ------
    TokenizerError
        If the files are damaged or the tokenizer is not supported.
    """
    n_vocab = int(config.get("vocab_size") or 0)
    path = next((folder / name for name in SENTENCEPIECE if _is_sentencepiece(folder / name)), None)
    tokenizer = read_json(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else {}
    if path is None and not tokenizer:
        return {}
    added = {token["content"]: token for token in tokenizer.get("added_tokens", [])}
    if path is not None:
        keys = sentencepiece_model.read(path, n_vocab)
    else:
        keys = tokenizer_json.read(folder / "tokenizer.json", tokenizer, n_vocab, pretokenizers)
        _warn_of_other_ids(folder / "tokenizer.json", added, tokenizer_json.ids_in_library(tokenizer))
    _set_added_tokens(keys, added)
    keys.update(_special_tokens(folder, config, keys["tokenizer.ggml.tokens"], tokenizer))
    return keys


def _is_sentencepiece(path: Path) -> bool:
    """Whether the file is a SentencePiece model; Llama 3 has a tiktoken file with the same name."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(1) == b"\x0a"  # field 1, length-delimited: the first piece


def _warn_of_other_ids(path: Path, added: dict[str, Any], ids: dict[str, int]) -> None:
    """Warn of added tokens to which the `tokenizers` package gives other ids than the file, whose ids are converted."""
    others = [(text, token["id"], ids[text]) for text, token in added.items() if token["id"] != ids[text]]
    if others:
        text, here, there = others[0]
        says = (
            f"{path}: the id of the added token {short_repr(text)} is {here} in the file, and in the converted model, "
            f"but {there} in transformers, which numbers added tokens itself; such tokens: {len(others)}. If the model "
            "was trained with those ids, load and save the tokenizer with transformers, and convert again"
        )
        warnings.warn(says, ModelFileWarning, stacklevel=2)


def _set_added_tokens(keys: dict[str, Any], added: dict[str, Any]) -> None:
    """Set texts and types of the added tokens: CONTROL or USER_DEFINED."""
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    for text, token in added.items():
        i = token["id"]
        if not 0 <= i < len(tokens):
            raise TokenizerError(
                f"added token {short_repr(text)} has id {i}, but the vocabulary has {len(tokens)} tokens"
            )
        if types[i] not in (TokenType.UNKNOWN, TokenType.BYTE):
            tokens[i] = text
            is_control = token.get("special") and text not in GEMMA4_RENDERED
            types[i] = int(TokenType.CONTROL if is_control else TokenType.USER_DEFINED)


def _special_tokens(folder: Path, config: Config, tokens: list[str], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of special tokens (ids, whether `encode` adds them) and the chat template."""
    path = folder / "tokenizer_config.json"
    tokenizer_config = read_json(path) if path.is_file() else {}
    ids = {text: i for i, text in enumerate(tokens)}
    keys: dict[str, Any] = {}
    for role, name in ROLES.items():
        found = _id(tokenizer_config, config, ids, role)
        if found is None and role in FALLBACK_ROLES:
            found = _id(tokenizer_config, {}, ids, FALLBACK_ROLES[role])
        if found is not None and 0 <= found < len(tokens):
            keys[f"tokenizer.ggml.{name}_token_id"] = found
    for role, value in {
        **_add_flags(tokenizer_config),
        **_add_flags_of_post_processor(tokenizer.get("post_processor") or {}),
    }.items():
        if not value or f"tokenizer.ggml.{role}_token_id" in keys:
            keys[f"tokenizer.ggml.add_{role}_token"] = value
    path = folder / "generation_config.json"
    suppressed = read_json(path).get("suppress_tokens") if path.is_file() else None
    if suppressed:
        keys["tokenizer.ggml.suppress_tokens"] = suppressed
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        template = next((row["template"] for row in template if row.get("name") == "default"), None)
    if (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text("utf-8")
    if isinstance(template, str):
        keys["tokenizer.chat_template"] = template
    return keys


def _id(tokenizer_config: dict[str, Any], config: Config, ids: dict[str, int], role: str) -> int | None:
    text = tokenizer_config.get(f"{role}_token")
    text = text.get("content") if isinstance(text, dict) else text
    if text in ids:
        return ids[text]
    found = config.get(f"{role}_token_id")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, int) else None


def _add_flags(tokenizer_config: dict[str, Any]) -> dict[str, bool]:
    roles = {role: tokenizer_config.get(f"add_{role}_token") for role in ("bos", "eos")}
    return {role: value for role, value in roles.items() if isinstance(value, bool)}


def _add_flags_of_post_processor(processor: dict[str, Any]) -> dict[str, bool]:
    """Return which special tokens the post-processor of tokenizer.json adds to a single text."""
    out: dict[str, bool] = {}
    for row in processor.get("processors", [processor]):
        if row.get("type") in ("RobertaProcessing", "BertProcessing"):
            out = {"bos": True, "eos": True}
        elif row.get("type") == "TemplateProcessing":
            single = row.get("single", [])
            ends = [bool(single) and "SpecialToken" in single[i] for i in (0, -1)]
            out = {"bos": ends[0], "eos": ends[1]}
    return out
