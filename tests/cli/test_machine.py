"""The rates of the machine: plausible numbers, more threads than work, nothing left over."""

import threading

import numpy as np

from realizar._kernels import table
from realizar.cli.machine import int8_tops, peak_rss_bytes, read_gb_s


def test_read_bandwidth():
    data = np.ones(20 << 20, np.uint8)
    assert 0.01 < read_gb_s([data[: 10 << 20], data[10 << 20 :].reshape(1024, -1)], 2) < 10_000


def test_more_threads_than_pieces():
    assert read_gb_s([np.ones(100, np.uint8)], 5) > 0
    assert threading.active_count() < 5


def test_int8_rate():
    for isa in table.available():
        assert 0.0001 < int8_tops(isa, 1) < 10_000


def test_peak_memory():
    before = peak_rss_bytes()
    block = np.ones(64 << 20, np.uint8)
    assert peak_rss_bytes() >= before + block.nbytes // 2 or before > 200e6
