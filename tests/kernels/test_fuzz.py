"""Every kernel and quantizer of every ISA level on random inputs next to guard pages (tests/native/*_harness.c).

Compiling the harnesses takes half a minute, so `.ci/run` does that and `pytest` does not. A long run:
`python -m tests.tools.fuzz_kernels 100000 SEED`.
"""

from pathlib import Path

import pytest

from tests.native import build, run

CODEBOOKS = [f"codebooks_{family}.c" for family in ("iq1", "iq2", "iq3")]
SOURCES = ["cpu.c", "resolve.c", "scalar.c", "avx2.c", "avxvnni.c", "avx512.c", "amx.c", *CODEBOOKS]
QUANTIZERS = ["quantize.c", "quantize_scalar.c", "quantize_avx2.c", "quantize_avx512.c"]
HARNESSES = {"kernels_harness": SOURCES, "quantizers_harness": ["cpu.c", "scalar.c", *QUANTIZERS, *CODEBOOKS]}


@pytest.mark.slow
def test_kernels_harness(tmp_path: Path) -> None:
    # -O0: optimizing the instrumented, unrolled kernels takes a minute and saves no run time here. The compiler then
    # warns that it does not unroll.
    run(build(tmp_path, "kernels_harness", SOURCES, "address,undefined", "-O0", "-Wno-error"), "200")


@pytest.mark.slow
def test_quantizers_harness(tmp_path: Path) -> None:
    # float-cast-overflow: a NaN where a code is due.
    sanitizers = "address,undefined,float-cast-overflow"
    run(build(tmp_path, "quantizers_harness", HARNESSES["quantizers_harness"], sanitizers, "-O0", "-Wno-error"), "500")


@pytest.mark.slow
def test_repack_harness(tmp_path: Path) -> None:
    run(build(tmp_path, "repack_harness", ["repack.c"], "address,undefined"))
