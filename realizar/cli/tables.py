"""Tables and long lines: fitted to the width of a terminal, plain in files and pipes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from realizar.cli.text import visible

if TYPE_CHECKING:
    from rich.console import Console

_LEAST = 20
"""Columns that the last cell of a row needs in a table; else each row is a long line."""


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table, whose last column is as wide as there is room.

    Parameters
    ----------
    headers : sequence of str
    rows : sequence of sequences of str
    right : collection of str
        Headers of the columns that are aligned on the right.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    if not sys.stdout.isatty():
        fitted = [str.rjust if header in right else str.ljust for header in headers]
        for row in (headers, *rows):
            print("  ".join(fit(cell, width) for fit, cell, width in zip(fitted, row, widths, strict=True)).rstrip())
        return
    console = _console()
    if sum(widths[:-1]) + 2 * len(widths[:-1]) + min(_LEAST, widths[-1]) > console.width:
        for row in (headers, *rows):
            write_line("  ".join(cell for cell in row if cell), 2)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        is_last = header == headers[-1]
        table.add_column(
            header, justify="right" if header in right else "left", no_wrap=not is_last, overflow="fold"
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)


def write_line(line: str, indent: int) -> None:
    """Print a line; in a terminal that is too narrow, its continuation is indented by so many columns."""
    if not sys.stdout.isatty():
        print(line)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_column(width=indent, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(line[:indent]), Text(visible(line[indent:])))
    _console().print(grid)


def _console() -> Console:
    from rich.console import Console

    width, height = shutil.get_terminal_size()  # rich does not ask terminals that it takes for dumb
    return Console(width=width, height=height, highlight=False)
