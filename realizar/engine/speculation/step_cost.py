"""StepCost: how long a step takes by its number of rows, measured on the steps that are made anyway."""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np

N_KEPT = 7
"""Measurements that count of each number of rows; their median, since others use the machine too."""


class StepCost:
    """Seconds that a step of 0 .. n_max rows takes, each with an output.

    Where a number of rows was never measured, the usual cost is scaled as at the numbers beside it that were. Usual is
    what Qwen2.5-Coder 0.5B (Q4_K_M) takes on two cores with AVX-512, in steps of one row: 1.37 with 2 rows, 1.8 with
    8, 2.5 with 16, 3.6 with 32.

    """

    def __init__(self, n_max: int) -> None:
        self._rows = np.arange(n_max + 1)
        self._usual = 1.25 + 0.075 * self._rows
        self._usual[:2] = 0.0, 1.0
        self._measured: dict[int, deque[float]] = {}
        self._seconds: list[float] = self._usual.tolist()

    @property
    def is_measured(self) -> bool:
        """Whether any step was."""
        return bool(self._measured)

    @property
    def seconds(self) -> list[float]:
        """By the number of rows; before the first measurement, in steps of one row."""
        if not self._seconds:
            known = sorted(self._measured)
            scales = [median(self._measured[n]) / self._usual[n] for n in known]
            self._seconds = (self._usual * np.interp(self._rows, known, scales)).tolist()
        return self._seconds

    def learn(self, n_rows: int, seconds: float) -> None:
        """Take note of a step."""
        if 1 <= n_rows < len(self._rows):
            self._measured.setdefault(n_rows, deque(maxlen=N_KEPT)).append(seconds)
            self._seconds = []
