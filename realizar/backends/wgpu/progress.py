"""A progress bar of weights that are uploaded to a GPU, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHOWN_BYTES = 256 << 20
"""Uploads of fewer bytes are over before a bar could be read."""


def _ignore(n_bytes: int) -> None:
    pass


@contextmanager
def upload_progress(n_bytes: int, device: str) -> Iterator[Callable[[int], None]]:
    """Return a context with a function that takes the bytes of the file that have been uploaded since it was called.

    It shows a bar if standard error is a terminal, until all n_bytes are there.
    """
    if n_bytes < SHOWN_BYTES or not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"uploading to {device}", total=n_bytes)
        yield lambda n: bar.advance(task, n)
