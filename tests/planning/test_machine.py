"""Measured limits of the machine: plausible numbers, and more threads than work."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from realizar._kernels import probe, table
from realizar.planning import machine
from realizar.planning.machine import f32_tops, int8_tops, read_gb_s


def test_read_bandwidth():
    data = np.ones(20 << 20, np.uint8)
    assert 0 < read_gb_s([data[: 10 << 20], data[10 << 20 :].reshape(1024, -1)], 2) < 10_000


def test_more_threads_than_pieces():
    before = set(threading.enumerate())
    assert read_gb_s([np.ones(100, np.uint8)], 5) > 0
    assert not set(threading.enumerate()) - before


def test_rates_of_multiply_adds():
    for isa in table.available():
        assert 0 < int8_tops(isa, 1) < 10_000
        assert 0 < f32_tops(isa, 1) < 10_000


class Clock(threading.local):
    """A per-thread clock that advances only with work."""

    now = 0.0
    n_calls = 0

    def perf_counter(self):
        return self.now


def test_rate_excludes_warm_up_and_thread_start(monkeypatch):
    """Threads with 10^10 multiply-adds per second and a slow first burst, which does not count."""
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)

    def int8_macs(n_rounds, isa):
        clock.n_calls += 1
        clock.now += n_rounds * 1e-8 + (0.5 if clock.n_calls == 1 else 0)
        return n_rounds * 100

    monkeypatch.setattr(probe, "int8_macs", int8_macs)
    assert int8_tops("any", 3) == pytest.approx(3 * 2 * 1e10 / 1e12)


def test_burst_takes_a_millisecond_despite_interruptions(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    bursts = []

    def int8_macs(n_rounds, isa):
        bursts.append(n_rounds)
        clock.now += n_rounds * 1e-6 + (1.0 if len(bursts) == 2 else 0)
        return n_rounds

    monkeypatch.setattr(probe, "int8_macs", int8_macs)
    int8_tops("any", 1)
    assert bursts[-1] == 1024


def test_small_memory_is_read_repeatedly(monkeypatch):
    """The fake clock gives 2 * 10^9 bytes per second: 10^6 bytes take 0.0005 s, so they are read 60 times."""
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)
    n_reads = []

    def read(piece):
        n_reads.append(piece.nbytes)
        clock.now += piece.nbytes / 2e9

    monkeypatch.setattr(probe, "read", read)
    assert read_gb_s([np.ones(10**6, np.uint8)], 1) == pytest.approx(2.0)
    assert sum(n_reads) == 61 * 10**6


def test_peak_memory():
    """In a separate process, because an earlier peak of this one would hide part of the allocation."""
    code = (
        "import numpy as np\n"
        "from realizar.planning.machine import peak_rss_bytes\n"
        "before = peak_rss_bytes()\n"
        "block = np.ones(256 << 20, np.uint8)\n"
        "print(peak_rss_bytes() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) >= 192 << 20
