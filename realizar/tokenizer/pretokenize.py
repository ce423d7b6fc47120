"""Pre-tokenizers: how text is split into words before BPE; one row of pretokenizers.json per tokenizer.ggml.pre."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from realizar.errors import TokenizerError, short_repr

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class PreTokenizer:
    """One row of the table.

    Attributes
    ----------
    split : tuple of str
        Oniguruma patterns, applied one after another; matches and the texts between them become words.
    byte_level : bool
        Whether bytes are mapped to printable characters before the merges.
    escape_whitespaces : bool
        Whether a vocabulary that is not byte-level has ▁ for spaces.
    ignore_merges : bool
        Whether a word that is in the vocabulary becomes one token, regardless of the merges.
    add_bos : bool
        Default if the file has no tokenizer.ggml.add_bos_token.
    add_sep : bool
        Default if the file has no tokenizer.ggml.add_sep_token.
    """

    split: tuple[str, ...]
    byte_level: bool = True
    escape_whitespaces: bool = False
    ignore_merges: bool = False
    add_bos: bool = False
    add_sep: bool = False


@cache
def shipped() -> Rows:
    """Return the rows shipped with realizar, as defined by the models' publishers."""
    rows: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("pretokenizers.json").read_text("utf-8"))
    return rows


def pretokenizer(name: str, extra: Rows) -> PreTokenizer:
    """Return the row of a tokenizer.ggml.pre; raises TokenizerError if the name is unknown.

    Parameters
    ----------
    name : str
        The value of tokenizer.ggml.pre.
    extra : mapping of str to mapping
        Rows from plugins, with the keys of `PreTokenizer`; they override shipped rows.
    """
    row = extra.get(name) or shipped().get(name)
    if row is None:
        raise TokenizerError(
            f"tokenizer.ggml.pre: {short_repr(name)} is not one of the {len(shipped()) + len(extra)} known "
            "pre-tokenizers; a plugin can add it with the hook realizar_pretokenizers"
        )
    names = (field.name for field in fields(PreTokenizer) if field.name != "split")
    return PreTokenizer(split=tuple(row["split"]), **{flag: bool(row[flag]) for flag in names if flag in row})
