"""Measurement of the machine's limits, to which `realizar bench` compares a model."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import ceil
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Barrier, Thread

import numpy as np
import numpy.typing as npt

from realizar._kernels import probe
from realizar.backends.cpu.threads import read_kernel_file

Bytes = npt.NDArray[np.uint8]

_PIECE = 4 << 20  # bytes that a thread reads at a time
_READ_SECONDS = 0.03  # minimum duration of a bandwidth measurement
_RATE_SECONDS = 0.04
_BURST_SECONDS = 0.001  # between two clock reads; long enough to make Python's overhead and the GIL negligible


def read_gb_s(views: Iterable[Bytes], n_threads: int) -> float:
    """Measure the read bandwidth over some bytes: the upper limit for a step that reads them all.

    The bytes are read once, or repeatedly for 0.03 s, so that starting and ending threads does not affect the result.

    Parameters
    ----------
    views : iterable of uint8 arrays
        The data to read, for example all tensors of a mapped file.
    n_threads : int
        Number of reading threads, which share a queue.

    Returns
    -------
    float
        10^9 bytes per second.
    """
    once = [piece for view in views for piece in _pieces(view.reshape(-1))]
    n_bytes, seconds = sum(piece.nbytes for piece in once), _read(once, n_threads)
    if seconds < _READ_SECONDS:
        times = ceil(_READ_SECONDS / max(seconds, 1e-6))
        n_bytes, seconds = times * n_bytes, _read(once * times, n_threads)
    return n_bytes / seconds / 1e9


def int8_tops(isa: str, n_threads: int) -> float:
    """Measure the rate of int8 multiply-adds in registers; each counts as two operations.

    Parameters
    ----------
    isa : str
        ISA level of the kernels.
    n_threads : int

    Returns
    -------
    float
        10^12 operations per second.
    """
    return _tops(partial(probe.int8_macs, isa=isa), n_threads)


def f32_tops(isa: str, n_threads: int) -> float:
    """Measure the rate of float32 multiply-adds in registers; otherwise like `int8_tops`."""
    return _tops(partial(probe.f32_macs, isa=isa), n_threads)


def host_memory(root: Path = Path("/")) -> dict[str, int]:
    """Return the lines of Linux's /proc/meminfo, in bytes; empty on other systems."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", read_kernel_file(root / "proc/meminfo"), re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def peak_rss_bytes() -> int | None:
    """Return the peak resident memory of this process, including mapped files; None if unavailable."""
    try:  # Linux: getrusage would include the parent's peak
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _pieces(view: Bytes) -> Iterator[Bytes]:
    return (view[start : start + _PIECE] for start in range(0, view.size, _PIECE))


def _read(pieces: list[Bytes], n_threads: int) -> float:
    """Return the seconds from the first thread's start to the last thread's end."""
    queue: SimpleQueue[Bytes] = SimpleQueue()
    for piece in pieces:
        queue.put(piece)
    spans: list[tuple[float, float]] = []

    def work() -> None:
        begin = time.perf_counter()
        try:
            while True:
                probe.read(queue.get_nowait())
        except Empty:
            spans.append((begin, time.perf_counter()))

    _run(work, n_threads)
    begins, ends = zip(*spans, strict=True)
    return float(max(ends) - min(begins))


def _tops(macs: Callable[[int], int], n_threads: int) -> float:
    """Return the sum of the threads' rates, each measured by the thread itself to exclude start and end."""
    n_rounds = _rounds(macs)
    rates: list[float] = []

    def work() -> None:
        macs(n_rounds)  # until the CPU frequency is stable and all threads run
        n, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < _RATE_SECONDS:
            n += macs(n_rounds)
        rates.append(n / elapsed)

    _run(work, n_threads)
    return 2 * sum(rates) / 1e12


def _rounds(macs: Callable[[int], int]) -> int:
    """Return the rounds of a burst; the shortest of three tries counts, to ignore interruptions."""
    n = 1
    while min(_seconds(macs, n) for _ in range(3)) < _BURST_SECONDS:
        n *= 2
    return n


def _seconds(macs: Callable[[int], int], n_rounds: int) -> float:
    begin = time.perf_counter()
    macs(n_rounds)
    return time.perf_counter() - begin


def _run(work: Callable[[], None], n_threads: int) -> None:
    """Run `work` on several threads that start simultaneously."""
    start = Barrier(n_threads)

    def run() -> None:
        start.wait()
        work()

    threads = [Thread(target=run, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
