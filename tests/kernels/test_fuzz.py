"""Every kernel of every ISA level on random inputs next to guard pages (tests/native/kernels_harness.c).

Compiling the harness takes half a minute, so `.ci/run` does that and `pytest` does not. A long run:
`python -m tests.tools.fuzz_kernels 100000 SEED`.
"""

from pathlib import Path

import pytest

from tests.native import build, run

CODEBOOKS = [f"codebooks_{family}.c" for family in ("iq1", "iq2", "iq3")]
SOURCES = ["cpu.c", "resolve.c", "scalar.c", "avx2.c", "avxvnni.c", "avx512.c", "amx.c", *CODEBOOKS]


@pytest.mark.slow
def test_kernels_harness(tmp_path: Path) -> None:
    # -O0: optimizing the instrumented, unrolled kernels takes a minute and saves no run time here. The compiler then
    # warns that it does not unroll.
    run(build(tmp_path, "kernels_harness", SOURCES, "address,undefined", "-O0", "-Wno-error"), "200")
