"""The rates of the machine: plausible numbers, more threads than work, nothing left over."""

import subprocess
import sys
import threading

import numpy as np

from realizar._kernels import table
from realizar.cli.machine import int8_tops, read_gb_s


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
