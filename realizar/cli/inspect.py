"""`realizar inspect`: the contents of a GGUF file."""

from __future__ import annotations

import json
from typing import Annotated, Any

from typer import Option

from realizar import store
from realizar.cli import options
from realizar.cli.tables import write_line, write_table

EXAMPLE = "Example: realizar inspect model.gguf --json"
_SIZES = ("number", "weights", "bytes", "bits/weight")


def command(
    model: options.Model,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object, including every tensor.")] = False,
) -> None:
    """Print a file's metadata, tensors by type with their bytes, and bits per weight."""
    from realizar.gguf import GGUFFile
    from realizar.gguf.summary import summarize
    from realizar.sampling.defaults import of_file

    with GGUFFile(store.resolve(model)) as file:
        found = summarize(file) | {"sampling": of_file(file.metadata)}
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for line in _lines(found):
        write_line(line, 4)
    write_table(("tensors", *_SIZES), _sizes(found), right=_SIZES)


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['path']}: GGUF v{found['version']}, {found['architecture'] or 'no architecture'},"
        f" {found['n_bytes'] / 1e6:.1f} MB, {found['n_weights'] / 1e6:.1f} M weights"
    ]
    lines += ["", "metadata"]
    lines += [f"  {key} = {format_entry(entry)}" for key, entry in found["metadata"].items()]
    if found["sampling"]:
        lines += [
            "",
            "defaults of SamplingParams",
            *(f"  {name} = {_format_value(v)}" for name, v in found["sampling"].items()),
        ]
    return [*lines, ""]


def _format_value(value: object) -> str:
    """Format a value readably: files store 0.6 as the nearest float32."""
    return f"{value:.7g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, tuple) else str(value)


def _sizes(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of tensors, by type and for all."""
    total = {
        "n_tensors": len(found["tensors"]),
        "n_weights": found["n_weights"],
        "n_bytes": found["tensor_bytes"],
        "bits_per_weight": found["bits_per_weight"],
    }
    rows: list[tuple[str, ...]] = []
    for name, row in {**found["types"], "all": total}.items():
        bits = "-" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.3f}"
        rows.append((name, str(row["n_tensors"]), str(row["n_weights"]), str(row["n_bytes"]), bits))
    return rows


def format_entry(entry: dict[str, Any], width: int = 100) -> str:
    """Format a value on one line: strings as repr, truncated, arrays by their first elements."""
    if entry["type"] == "ARRAY":
        first = ", ".join(repr(value) for value in entry["first"])
        more = ", …" if entry["n"] > len(entry["first"]) else ""
        text = f"{entry['n']} of {entry['element']}: [{first}{more}]"
    else:
        text = repr(entry["value"])
    return text if len(text) <= width else text[: width - 1] + "…"
