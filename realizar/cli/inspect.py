"""`realizar inspect`: the contents of a GGUF file."""

from __future__ import annotations

import json
from typing import Annotated, Any

from typer import Option

from realizar import store
from realizar.cli import options

EXAMPLE = "Example: realizar inspect model.gguf --json"


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
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['path']}: GGUF v{found['version']}, {found['architecture'] or 'no architecture'},"
        f" {found['n_bytes'] / 1e6:.1f} MB, {found['n_weights'] / 1e6:.1f} M weights"
    ]
    lines += ["", "metadata"]
    lines += [f"  {key} = {_format_entry(entry)}" for key, entry in found["metadata"].items()]
    if found["sampling"]:
        lines += [
            "",
            "defaults of SamplingParams",
            *(f"  {name} = {_format_value(v)}" for name, v in found["sampling"].items()),
        ]
    lines += ["", f"{'tensors':10} {'number':>6} {'weights':>14} {'bytes':>14} {'bits/weight':>11}"]
    lines += [_sizes(name, row) for name, row in found["types"].items()]
    total = {
        "n_tensors": len(found["tensors"]),
        "n_weights": found["n_weights"],
        "n_bytes": found["tensor_bytes"],
        "bits_per_weight": found["bits_per_weight"],
    }
    return [*lines, _sizes("all", total)]


def _format_value(value: object) -> str:
    """Format a value readably: files store 0.6 as the nearest float32."""
    return f"{value:.7g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, tuple) else str(value)


def _sizes(name: str, row: dict[str, Any]) -> str:
    bits = "-" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.3f}"
    return f"{name:10} {row['n_tensors']:6} {row['n_weights']:14} {row['n_bytes']:14} {bits:>11}"


def _format_entry(entry: dict[str, Any], width: int = 100) -> str:
    """Format a value on one line: strings as repr, truncated, arrays by their first elements."""
    if entry["type"] == "ARRAY":
        first = ", ".join(repr(value) for value in entry["first"])
        more = ", …" if entry["n"] > len(entry["first"]) else ""
        text = f"{entry['n']} of {entry['element']}: [{first}{more}]"
    else:
        text = repr(entry["value"])
    return text if len(text) <= width else text[: width - 1] + "…"
