"""The rates of the probes compared with loops in assembly. Needs an idle machine: `pytest -m timing`."""

import subprocess

import numpy as np
import pytest

from realizar._kernels import table
from realizar.planning.machine import f32_tops, int8_tops, read_gb_s
from tests.native import build

pytestmark = pytest.mark.timing

TURNS = 9


@pytest.fixture(scope="module")
def assembly_rate(tmp_path_factory):
    """(kind, isa) -> the rate of the assembly loop."""
    flags = ("-O3", "-fwrapv")  # the flags of the extension modules; the scalar loop depends on them
    program = build(tmp_path_factory.mktemp("rates"), "rates_harness", [], "", *flags)

    def rate(kind, isa):
        done = subprocess.run([program, kind, isa], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no assembly loop for {kind} {isa}")
        return float(done.stdout)

    return rate


def ratio(probe, other):
    """Return the best rate of the probe over that of the loop; runs alternate, since other processes slow down both."""
    ours, theirs = zip(*((probe(), other()) for _ in range(TURNS)), strict=True)
    print(f"probe {max(ours):.3g}, assembly loop {max(theirs):.3g}: {max(ours) / max(theirs):.3f}")
    return max(ours) / max(theirs)


@pytest.mark.parametrize("isa", table.available())
def test_int8(assembly_rate, isa):
    assert 1 / 1.15 < ratio(lambda: 1e12 * int8_tops(isa, 1), lambda: assembly_rate("int8", isa)) < 1.15


@pytest.mark.parametrize("isa", [isa for isa in table.available() if isa != "scalar"])
def test_f32(assembly_rate, isa):
    assert 1 / 1.15 < ratio(lambda: 1e12 * f32_tops(isa, 1), lambda: assembly_rate("f32", isa)) < 1.15


def test_reading(assembly_rate):
    """The two streams of the probe are at least as fast as one."""
    data = np.ones(256 << 20, np.uint8)
    isa = table.available()[-1]
    assert ratio(lambda: 1e9 * read_gb_s([data], 1), lambda: assembly_rate("read", isa)) > 1 / 1.15
