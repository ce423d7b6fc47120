"""Progress bars for downloads, on standard error; and for those who show them elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)
"""Called in this context with the Progress of each download, whose tasks say how far it has come."""


@contextmanager
def download_progress() -> Iterator[Progress]:
    """Yield a rich Progress with bytes, rate and remaining time; without a terminal it prints only its last state."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tell = listener.get()
        if tell is not None:
            tell(progress)
        yield progress
