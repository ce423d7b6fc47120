"""The ISA levels on which the conformance kit runs: the best one by default, all of them in `.ci/full`."""

import os

from realizar._kernels import table

LEVELS = tuple(table.available()) if os.environ.get("REALIZAR_TEST_ISA") == "all" else (table.current(),)
