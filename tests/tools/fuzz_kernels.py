"""Run tests/native/kernels_harness.c for long: `python -m tests.tools.fuzz_kernels ROUNDS SEED`.

A failure names the seed of its round; `python -m tests.tools.fuzz_kernels 1 SEED` repeats that round.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernels.test_fuzz import SOURCES
from tests.native import build


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder), "kernels_harness", SOURCES, "", "-O2")
        return subprocess.run([str(program), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
