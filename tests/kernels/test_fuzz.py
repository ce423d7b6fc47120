"""Every kernel of every tier on random inputs beside guard pages; what is tried: tests/native/kernels_harness.c.

A long run: `python -m tests.tools.fuzz_kernels 100000 SEED`.
"""

from pathlib import Path

from tests.native import build, run

SOURCES = ["cpu.c", "resolve.c", "scalar.c", "avx2.c", "avxvnni.c", "avx512.c", "amx.c"]


def test_kernels_harness(tmp_path: Path) -> None:
    # Instrumented code of the unrolled kernels takes a minute to optimize, and runs no faster here. Without that
    # the compiler warns that it does not unroll.
    run(build(tmp_path, "kernels_harness", SOURCES, "address,undefined", "-O0", "-Wno-error"), "40")
