"""What realizar itself provides and its tests compare: a generated table, so that a lookup imports one plugin.

The table, shipped.json, is written by tools/tables.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

GROUP = "realizar"
"""The entry-point group of plugins."""
PACKAGE = "realizar_plugins"
"""The package of the shipped plugins."""
REALIZAR = "realizar"
"""The origin of what is not in a plugin: the rows of realizar/tokenizer/pretokenizers.json."""


def origins() -> Mapping[str, str]:
    """What realizar provides: "architecture NAME", "op NAME", "pre-tokenizer NAME" -> name of a plugin, or REALIZAR."""
    return _table()["origins"]


def parity_cases(architecture: str) -> Sequence[str]:
    """The models of an architecture whose logits the tests compare with those of other implementations."""
    cases: Mapping[str, Sequence[str]] = _table()["parity"]
    return cases.get(architecture, ())


def entry_point(plugin: str) -> EntryPoint:
    """The entry point of a shipped plugin."""
    return EntryPoint(plugin, f"{PACKAGE}.{plugin}", GROUP)


def is_shipped(point: EntryPoint) -> bool:
    """Whether an entry point is that of a shipped plugin."""
    return point.value.partition(".")[0] == PACKAGE


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("shipped.json").read_text("utf-8"))
    return table
