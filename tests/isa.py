"""What is tested by default, of ISA levels, formats and other values; all of it in `.ci/full`."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

from realizar._kernels import table

ALL = os.environ.get("REALIZAR_TEST_ISA") == "all"
LEVELS = tuple(table.available()) if ALL else (table.current(),)
DEFINED = tuple(table.available()) if ALL else tuple(dict.fromkeys(("scalar", table.current())))
"""Levels whose kernels are compared with float64 and in parts; for all others, the same bits as scalar's are enough.

So they are for the scalar level itself where one way to call a kernel is compared with another: LEVELS.
"""
TYPES = ("F32", "F16", "Q8_0", "Q4_K") if ALL else ("F16", "Q4_K")
N_EXAMPLES = 200 if ALL else 25  # of hypothesis, for each kernel


def every(step: int, values: Iterable[Any]) -> list[Any]:
    """Mark all values but each `step`-th as slow, for pytest.mark.parametrize."""
    return [pytest.param(value, marks=pytest.mark.slow) if i % step else value for i, value in enumerate(values)]
