"""LogitRows: the logits of a step, with the block summaries that samplers use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Scan = Callable[[Logits], Logits | None]
"""Computes the summaries of rows: float32 [m, n] -> float32 [m, 2, n_blocks], block maxima and sums, or None."""


class LogitRow(NamedTuple):
    """The logits of one token.

    Attributes
    ----------
    values : float32 [n]
    summaries : float32 [2, n_blocks] | None
        For each block of 64 logits, the maximum and the sum of e**(logit - maximum); None: the sampler computes them.
    """

    values: Logits
    summaries: Logits | None = None


class LogitRows:
    """The logits of some tokens of a step. Slices share values and summaries.

    Parameters
    ----------
    values : float32 [m, n]
        The elements of a row are contiguous. Rows in a backend's memory are read-only, and valid until its next run.
    scan : Scan, optional
        Computes the summaries of all rows with the backend's threads at first use; afterwards the values are
        read-only.
    """

    __slots__ = ("_all", "_first", "_scan", "_summaries", "values")

    def __init__(self, values: Logits, scan: Scan | None = None) -> None:
        self.values = values
        self._scan = scan
        self._summaries: Logits | None = None
        self._all: LogitRows | None = None  # for a slice: the rows of which it is a slice
        self._first = 0

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[LogitRow]:
        """Iterate over the rows, with their summaries."""
        return map(self.row, range(len(self.values)))

    def __getitem__(self, part: slice) -> LogitRows:
        """Return a slice (with step 1)."""
        first, end, step = part.indices(len(self.values))
        if step != 1:
            raise ValueError(f"LogitRows[::{step}]: a slice must have step 1")
        if end - first == len(self.values):
            return self
        whole = self if self._all is None else self._all
        found = LogitRows(self.values[first:end], self._scan)
        found._all, found._first = whole, self._first + first
        return found

    def summaries(self) -> Logits | None:
        """Return the block maxima and block sums, float32 [m, 2, n_blocks]; None if the backend has no scan."""
        if self._summaries is None and self._scan is not None:
            if self._all is None:
                self.values.flags.writeable = False
                self._summaries = self._scan(self.values)
            else:
                found = self._all.summaries()
                self._summaries = None if found is None else found[self._first : self._first + len(self.values)]
        return self._summaries

    def row(self, i: int) -> LogitRow:
        """Return row i with its summaries."""
        found = self.summaries()
        return LogitRow(self.values[i], None if found is None else found[i])

    def copy(self) -> LogitRows:
        """Return a copy, which may be modified until its summaries are computed."""
        return LogitRows(self.values.copy(), self._scan)

    @staticmethod
    def joined(parts: Sequence[LogitRows]) -> LogitRows:
        """Return a copy of the rows of all parts (at least one), joined."""
        return LogitRows(np.concatenate([part.values for part in parts]), parts[0]._scan)
