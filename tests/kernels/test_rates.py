"""The rates of the probes next to loops in assembly. Needs an idle machine: `pytest -m timing`."""

import subprocess

import numpy as np
import pytest

from realizar._kernels import table
from realizar.cli.machine import f32_tops, int8_tops, read_gb_s
from tests.native import build

pytestmark = pytest.mark.timing

TURNS = 9


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """(kind, isa) -> the rate of the loop written in assembly."""
    flags = ("-O3", "-fwrapv")  # as setuptools compiles extension modules: the scalar loop depends on it
    program = build(tmp_path_factory.mktemp("rates"), "rates_harness", [], "", *flags)

    def rate(kind, isa):
        done = subprocess.run([program, kind, isa], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop by hand for {kind} {isa}")
        return float(done.stdout)

    return rate


def ratio(probe, other):
    """The best rates of the probe and of the loop; they take turns, since other processes may slow down either."""
    ours, theirs = zip(*((probe(), other()) for _ in range(TURNS)), strict=True)
    print(f"probe {max(ours):.3g}, loop by hand {max(theirs):.3g}: {max(ours) / max(theirs):.3f}")
    return max(ours) / max(theirs)


@pytest.mark.parametrize("isa", table.available())
def test_int8(by_hand, isa):
    assert 1 / 1.15 < ratio(lambda: 1e12 * int8_tops(isa, 1), lambda: by_hand("int8", isa)) < 1.15


@pytest.mark.parametrize("isa", [isa for isa in table.available() if isa != "scalar"])
def test_f32(by_hand, isa):
    assert 1 / 1.15 < ratio(lambda: 1e12 * f32_tops(isa, 1), lambda: by_hand("f32", isa)) < 1.15


def test_reading(by_hand):
    """Two streams are as fast as one, or faster."""
    data = np.ones(256 << 20, np.uint8)
    isa = table.available()[-1]
    assert ratio(lambda: 1e9 * read_gb_s([data], 1), lambda: by_hand("read", isa)) > 1 / 1.15
