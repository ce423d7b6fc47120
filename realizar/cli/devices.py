"""`realizar devices`: the CPU and the GPUs that can compute a model."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

from typer import Option

from realizar.cli.tables import write_table

EXAMPLE = "Example: realizar devices"


def command(as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the devices for --device: name, type, API, memory, features, and whether `auto` may take them."""
    from realizar.planning.devices import devices

    found, missing = devices()
    if as_json:
        print(json.dumps({"devices": [asdict(each) for each in found], "missing": missing}, indent=2))
        return
    rows = [
        [each.device, each.name, each.kind, each.api, _size(each.memory_bytes), _size(each.free_bytes),
         ", ".join(each.features) or "-", each.auto]
        for each in found
    ]  # fmt: skip
    write_table(["device", "name", "type", "API", "memory", "free", "features", "auto"], rows, ("memory", "free"))
    if missing is not None:
        print(f"GPUs: {missing}", file=sys.stderr)


def _size(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 2**30:.1f} GiB"
