"""The tokenizer of a converted file: tokenizer.model or tokenizer.json as `tokenizer.ggml.*`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from realizar.arch.checkpoint import Config
from realizar.convert import sentencepiece_model, tokenizer_json
from realizar.convert.checkpoint_folder import read_json
from realizar.errors import TokenizerError, shown
from realizar.tokenizer.pretokenize import Rows
from realizar.tokenizer.vocabulary import TokenType

SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
# Slot in tokenizer_config.json and config.json -> the name in GGUF's keys.
SLOTS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask",
}  # fmt: skip
INSTEAD = {"bos": "cls", "eos": "sep"}  # BERT's words for what stands at the two ends of a text


def vocabulary(folder: Path, config: Config, pretokenizers: Rows) -> dict[str, Any]:
    """Keys and values of a folder's tokenizer; empty where it has none.

    Parameters
    ----------
    folder : Path
    config : dict
        config.json.
    pretokenizers : mapping
        Rows that plugins bring.

    Raises
    ------
    TokenizerError
        If the files are damaged or of a kind that is not known.
    """
    n_vocab = int(config.get("vocab_size") or 0)
    path = next((folder / name for name in SENTENCEPIECE if _is_pieces(folder / name)), None)
    whole = read_json(folder / "tokenizer.json") if (folder / "tokenizer.json").is_file() else {}
    if path is None and not whole:
        return {}
    added = {token["content"]: token for token in whole.get("added_tokens", [])}
    if path is not None:
        keys = sentencepiece_model.read(path, n_vocab)
    else:
        keys = tokenizer_json.read(folder / "tokenizer.json", whole, n_vocab, pretokenizers)
    _mark(keys, added)
    keys.update(_specials(folder, config, keys["tokenizer.ggml.tokens"], whole))
    return keys


def _is_pieces(path: Path) -> bool:
    """Whether this is a SentencePiece model; Llama 3 has a text of base64 under the same name."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(1) == b"\x0a"  # field 1, length-delimited: its first piece


def _mark(keys: dict[str, Any], added: dict[str, Any]) -> None:
    """Types of the added tokens: control tokens, and words that are never cut."""
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    for text, token in added.items():
        i = token["id"]
        if not 0 <= i < len(tokens):
            raise TokenizerError(f"added token {shown(text)} has id {i}, but the vocabulary has {len(tokens)} tokens")
        if types[i] not in (TokenType.UNKNOWN, TokenType.BYTE):
            tokens[i] = text
            types[i] = int(TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED)


def _specials(folder: Path, config: Config, tokens: list[str], whole: dict[str, Any]) -> dict[str, Any]:
    """Ids of special tokens, whether they are put around a text, and the chat template."""
    path = folder / "tokenizer_config.json"
    given = read_json(path) if path.is_file() else {}
    ids = {text: i for i, text in enumerate(tokens)}
    keys: dict[str, Any] = {}
    for slot, name in SLOTS.items():
        found = _id(given, config, ids, slot)
        if found is None and slot in INSTEAD:
            found = _id(given, {}, ids, INSTEAD[slot])
        if found is not None and 0 <= found < len(tokens):
            keys[f"tokenizer.ggml.{name}_token_id"] = found
    for slot, value in {**_adds(given), **_adds_of_template(whole.get("post_processor") or {})}.items():
        if not value or f"tokenizer.ggml.{slot}_token_id" in keys:
            keys[f"tokenizer.ggml.add_{slot}_token"] = value
    template = given.get("chat_template")
    if isinstance(template, list):
        template = next((row["template"] for row in template if row.get("name") == "default"), None)
    if (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text("utf-8")
    if isinstance(template, str):
        keys["tokenizer.chat_template"] = template
    return keys


def _id(given: dict[str, Any], config: Config, ids: dict[str, int], slot: str) -> int | None:
    text = given.get(f"{slot}_token")
    text = text.get("content") if isinstance(text, dict) else text
    if text in ids:
        return ids[text]
    found = config.get(f"{slot}_token_id")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, int) else None


def _adds(given: dict[str, Any]) -> dict[str, bool]:
    slots = {slot: given.get(f"add_{slot}_token") for slot in ("bos", "eos")}
    return {slot: value for slot, value in slots.items() if isinstance(value, bool)}


def _adds_of_template(processor: dict[str, Any]) -> dict[str, bool]:
    """What the post-processor of tokenizer.json puts around one text."""
    out: dict[str, bool] = {}
    for row in processor.get("processors", [processor]):
        if row.get("type") in ("RobertaProcessing", "BertProcessing"):
            out = {"bos": True, "eos": True}
        elif row.get("type") == "TemplateProcessing":
            single = row.get("single", [])
            ends = [bool(single) and "SpecialToken" in single[i] for i in (0, -1)]
            out = {"bos": ends[0], "eos": ends[1]}
    return out
