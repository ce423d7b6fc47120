"""Fuzz kernels and quantizers (tests/native/) for long: `python -m tests.tools.fuzz_kernels ROUNDS SEED`.

A failure names the seed of its round; `python -m tests.tools.fuzz_kernels 1 SEED` repeats that round.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernels.test_fuzz import HARNESSES
from tests.native import build


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        for harness, sources in HARNESSES.items():
            program = build(Path(folder), harness, sources, "", "-O2", "-Wno-error")
            if failed := subprocess.run([str(program), *sys.argv[1:]], check=False).returncode:
                return failed
    return 0


if __name__ == "__main__":
    sys.exit(main())
