"""`realizar verify`: checks that a file matches its architecture's declaration and can be computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from realizar import store
from realizar.cli import options
from realizar.cli.tables import write_line

EXAMPLE = "Example: realizar verify model.gguf --golden golden.npz"


def command(
    model: options.Model,
    golden: Annotated[
        Path | None, Option(metavar="FILE.npz", help="File with tokens [n] and expected logits [n, n_vocab].")
    ] = None,
    bound: Annotated[float, Option(help="Allowed relative error to the expected logits.")] = 1e-3,
) -> int:
    """Check tensors against the architecture's declaration, the tokenizer's round trip, and finite logits."""
    from realizar.cli.checks import verify

    status = 0
    for check in verify(store.resolve(model), golden, bound):
        write_line(f"{check.name:<13} {check.status:<7} {check.says}", 22)
        status |= check.status == "FAILED"
    return int(status)
