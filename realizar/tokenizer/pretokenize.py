"""How a text is cut into words before byte-level BPE: one row of pretokenizers.json per tokenizer.ggml.pre."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from realizar.errors import TokenizerError, shown

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class PreTokenizer:
    """One row.

    Attributes
    ----------
    split : tuple of str
        Oniguruma patterns, applied in turn; each match is a word of its own, and so is what lies between matches.
    byte_level : bool
        Whether bytes are mapped to printable characters before the merges.
    ignore_merges : bool
        Whether a word that is a token is taken whole, whatever the merges say.
    add_bos : bool
        The default where the file has no tokenizer.ggml.add_bos_token.
    """

    split: tuple[str, ...]
    byte_level: bool = True
    ignore_merges: bool = False
    add_bos: bool = False


@cache
def shipped() -> Rows:
    """Return the rows that come with realizar, as the models' publishers define them."""
    rows: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("pretokenizers.json").read_text("utf-8"))
    return rows


def pretokenizer(name: str, extra: Rows) -> PreTokenizer:
    """Return the row of a tokenizer.ggml.pre; raises TokenizerError for a name that nobody knows.

    Parameters
    ----------
    name : str
        The value of tokenizer.ggml.pre.
    extra : mapping of str to mapping
        Rows from plugins, keys as in `PreTokenizer`; they win over the shipped ones.
    """
    row = extra.get(name) or shipped().get(name)
    if row is None:
        raise TokenizerError(
            f"tokenizer.ggml.pre: {shown(name)} is not among the {len(shipped()) + len(extra)} pre-tokenizers known; "
            "a plugin can add it with the hook realizar_pretokenizers"
        )
    flags = {flag: bool(row[flag]) for flag in ("byte_level", "ignore_merges", "add_bos") if flag in row}
    return PreTokenizer(split=tuple(row["split"]), **flags)
