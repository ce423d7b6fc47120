"""`realizar quantize --budget`: the progress of the measurement, and the table of the types that were chosen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from realizar.cli.tables import write_table

if TYPE_CHECKING:
    from realizar.quantize import Quantization


@contextmanager
def measuring() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a function that shows on standard error how many tensors are measured; None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]

        yield show


def write_types(found: Quantization) -> None:
    """Print the type of each matrix, and the divergence that is predicted for it."""
    rows = [
        (
            plan.name, plan.source.name, plan.target.name, f"{plan.n_bytes / 1e6:.2f}",
            f"{found.divergences[plan.name]:.6f}",
        )
        for plan in found.plans
        if len(plan.shape) > 1
    ]  # fmt: skip
    write_table(("tensor", "from", "to", "MB", "divergence"), rows, right=("MB", "divergence"))
    print()
