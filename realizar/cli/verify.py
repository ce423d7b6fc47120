"""`realizar verify`: whether a file is what its architecture's plugin declares, and computes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from realizar import store
from realizar.cli import options

EXAMPLE = "Example: realizar verify model.gguf --golden golden.npz"


def command(
    model: options.Model,
    golden: Annotated[
        Path | None, Option(metavar="FILE.npz", help="Holds tokens [n] and the right logits [n, n_vocab].")
    ] = None,
    bound: Annotated[float, Option(help="Relative error to the golden logits that is allowed.")] = 1e-3,
) -> int:
    """Check tensors against the architecture's declaration, the tokenizer's round trip, and finite logits."""
    from realizar.cli.checks import verify

    status = 0
    for check in verify(store.resolve(model), golden, bound):
        print(f"{check.name:<13} {check.status:<7} {check.says}")
        status |= check.status == "FAILED"
    return int(status)
