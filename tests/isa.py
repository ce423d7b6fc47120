"""ISA levels and formats that are tested: the best level by default, all in `.ci/full`."""

import os

from realizar._kernels import table

ALL = os.environ.get("REALIZAR_TEST_ISA") == "all"
LEVELS = tuple(table.available()) if ALL else (table.current(),)
DEFINED = tuple(table.available()) if ALL else tuple(dict.fromkeys(("scalar", table.current())))
"""Levels whose kernels are compared with float64 and in parts; for all others, the same bits as scalar's are enough."""
TYPES = ("F32", "F16", "Q8_0", "Q4_K") if ALL else ("F16", "Q4_K")
N_EXAMPLES = 200 if ALL else 50  # of hypothesis, for each kernel
