"""The probes of the machine: they read all there is and count what they do, in every tier."""

import numpy as np
import pytest

from realizar._kernels import probe, table


@pytest.mark.parametrize("n_bytes", [0, 1, 255, 256, 257, 4096 + 63])
def test_read_sums_every_byte(n_bytes):
    data = np.zeros(n_bytes, np.uint8)
    assert probe.read(data) == 0
    for i in range(n_bytes):
        data[i] = 1
        assert probe.read(data) != 0, i
        data[i] = 0


def test_read_takes_read_only_views():
    data = np.ones(1000, np.uint8)
    data.flags.writeable = False
    assert probe.read(data) > 0


@pytest.mark.parametrize("isa", table.available())
def test_int8_macs_counts(isa):
    assert probe.int8_macs(0, isa) == 0
    assert probe.int8_macs(20, isa) == 2 * probe.int8_macs(10, isa) > 0


def test_unknown_tier():
    with pytest.raises(ValueError, match="mmx"):
        probe.int8_macs(1, "mmx")
