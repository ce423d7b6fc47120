"""The rates of the machine: plausible numbers, more threads than work, nothing left over."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from realizar._kernels import probe, table
from realizar.cli import machine
from realizar.cli.machine import f32_tops, int8_tops, read_gb_s


def test_read_bandwidth():
    data = np.ones(20 << 20, np.uint8)
    assert 0.01 < read_gb_s([data[: 10 << 20], data[10 << 20 :].reshape(1024, -1)], 2) < 10_000


def test_more_threads_than_pieces():
    assert read_gb_s([np.ones(100, np.uint8)], 5) > 0
    assert threading.active_count() < 5


def test_rates_of_multiply_adds():
    for isa in table.available():
        assert 0.0001 < int8_tops(isa, 1) < 10_000
        assert 0.0001 < f32_tops(isa, 1) < 10_000


class Clock(threading.local):
    """A clock for each thread, which moves only where work is done."""

    now = 0.0
    n_calls = 0

    def perf_counter(self):
        return self.now


def test_a_rate_is_that_of_the_multiply_adds_alone(monkeypatch):
    """Threads of 10^10 multiply-adds a second, whose first burst is slow: neither it nor their starts are counted."""
    clock = Clock()
    monkeypatch.setattr(machine, "time", clock)

    def int8_macs(n_rounds, isa):
        clock.n_calls += 1
        clock.now += n_rounds * 1e-8 + (0.5 if clock.n_calls == 1 else 0)
        return n_rounds * 100

    monkeypatch.setattr(probe, "int8_macs", int8_macs)
    assert int8_tops("any", 3) == pytest.approx(3 * 2 * 1e10 / 1e12)


def test_a_burst_takes_a_millisecond_whatever_interrupts_it(monkeypatch):
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


def test_little_memory_is_read_again_until_it_takes_time(monkeypatch):
    """2 * 10^9 bytes a second from a clock that the reading moves: 10^6 bytes take 0.0005 s, so 60 times are read."""
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
    """In a process of its own: what this one has peaked at before would hide part of the block."""
    code = (
        "import numpy as np\n"
        "from realizar.cli.machine import peak_rss_bytes\n"
        "before = peak_rss_bytes()\n"
        "block = np.ones(256 << 20, np.uint8)\n"
        "print(peak_rss_bytes() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) >= 192 << 20
