"""ISA levels and formats that the conformance kit tests: the best level by default, all in `.ci/full`."""

import os

from realizar._kernels import table

ALL = os.environ.get("REALIZAR_TEST_ISA") == "all"
LEVELS = tuple(table.available()) if ALL else (table.current(),)
TYPES = ("F32", "F16", "Q8_0", "Q4_K") if ALL else ("F16", "Q4_K")
N_EXAMPLES = 200 if ALL else 50  # of hypothesis, for each kernel
