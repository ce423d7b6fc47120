"""What the machine can do: the floors that `realizar bench` holds a model to."""

from __future__ import annotations

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

Bytes = npt.NDArray[np.uint8]

_PIECE = 4 << 20  # bytes of a file that a thread reads at a time
_READ_SECONDS = 0.03  # a file that is read in less is read again
_RATE_SECONDS = 0.04
_BURST_SECONDS = 0.001  # between two looks at the clock, beside which Python's own time and the GIL are nothing


def read_gb_s(views: Iterable[Bytes], n_threads: int) -> float:
    """Read bandwidth over some bytes: what a step that reads them all cannot beat.

    The bytes are read once, or as often as 0.03 s allow, so that what starts and ends the threads is not in the rate.

    Parameters
    ----------
    views : iterable of uint8 arrays
        What is read, for example all tensors of a mapped file.
    n_threads : int
        Threads that read, each what is next.

    Returns
    -------
    float
        10^9 bytes per second.
    """
    once = [piece for view in views for piece in _cut(view.reshape(-1))]
    n_bytes, seconds = sum(piece.nbytes for piece in once), _read(once, n_threads)
    if seconds < _READ_SECONDS:
        times = ceil(_READ_SECONDS / max(seconds, 1e-6))
        n_bytes, seconds = times * n_bytes, _read(once * times, n_threads)
    return n_bytes / seconds / 1e9


def int8_tops(isa: str, n_threads: int) -> float:
    """Rate of int8 multiply-adds in registers, each counted as two operations.

    Parameters
    ----------
    isa : str
        Tier of the kernels whose instructions are used.
    n_threads : int

    Returns
    -------
    float
        10^12 operations per second.
    """
    return _tops(partial(probe.int8_macs, isa=isa), n_threads)


def f32_tops(isa: str, n_threads: int) -> float:
    """Rate of float32 multiply-adds in registers; all else as `int8_tops`."""
    return _tops(partial(probe.f32_macs, isa=isa), n_threads)


def peak_rss_bytes() -> int | None:
    """The most memory this process has had in RAM, mapped files included; None where the system does not say."""
    try:  # Linux: getrusage's number would begin with that of the process which started this one
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


def _cut(view: Bytes) -> Iterator[Bytes]:
    return (view[start : start + _PIECE] for start in range(0, view.size, _PIECE))


def _read(pieces: list[Bytes], n_threads: int) -> float:
    """Seconds from the first thread's start to the last one's end."""
    left: SimpleQueue[Bytes] = SimpleQueue()
    for piece in pieces:
        left.put(piece)
    spans: list[tuple[float, float]] = []

    def work() -> None:
        begin = time.perf_counter()
        try:
            while True:
                probe.read(left.get_nowait())
        except Empty:
            spans.append((begin, time.perf_counter()))

    _run(work, n_threads)
    begins, ends = zip(*spans, strict=True)
    return float(max(ends) - min(begins))


def _tops(macs: Callable[[int], int], n_threads: int) -> float:
    """Sum of the threads' own rates, each from its own clock: how they are started and ended is in none of them."""
    n_rounds = _rounds(macs)
    rates: list[float] = []

    def work() -> None:
        macs(n_rounds)  # so that the CPU's clock has settled and all threads are there
        n, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < _RATE_SECONDS:
            n += macs(n_rounds)
        rates.append(n / elapsed)

    _run(work, n_threads)
    return 2 * sum(rates) / 1e12


def _rounds(macs: Callable[[int], int]) -> int:
    """Rounds of a burst: the shortest of three tries, so that an interruption does not make it short."""
    n = 1
    while min(_seconds(macs, n) for _ in range(3)) < _BURST_SECONDS:
        n *= 2
    return n


def _seconds(macs: Callable[[int], int], n_rounds: int) -> float:
    begin = time.perf_counter()
    macs(n_rounds)
    return time.perf_counter() - begin


def _run(work: Callable[[], None], n_threads: int) -> None:
    """Run `work` on several threads that begin together."""
    start = Barrier(n_threads)

    def run() -> None:
        start.wait()
        work()

    threads = [Thread(target=run, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
