"""What the machine can do: the floors that `realizar bench` holds a model to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Barrier, Thread

import numpy as np
import numpy.typing as npt

from realizar._kernels import probe

Bytes = npt.NDArray[np.uint8]

_PIECE = 4 << 20  # bytes of a file that a thread reads at a time
_BURST = 20_000  # rounds of int8 products between two looks at the clock
_INT8_SECONDS = 0.1


def read_gb_s(views: Iterable[Bytes], n_threads: int) -> float:
    """Read bandwidth over some bytes: what a step that reads them all cannot beat.

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
    pieces: SimpleQueue[Bytes] = SimpleQueue()
    n_bytes = 0
    for view in views:
        n_bytes += view.nbytes
        for piece in _cut(view.reshape(-1)):
            pieces.put(piece)

    def work() -> None:
        while True:
            try:
                piece = pieces.get_nowait()
            except Empty:
                return
            probe.read(piece)

    return n_bytes / _seconds(work, n_threads) / 1e9


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
    counts: list[int] = []

    def work() -> None:
        n, end = 0, time.perf_counter() + _INT8_SECONDS
        while time.perf_counter() < end:
            n += probe.int8_macs(_BURST, isa)
        counts.append(n)

    seconds = _seconds(work, n_threads)
    return 2 * sum(counts) / seconds / 1e12


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


def _seconds(work: Callable[[], None], n_threads: int) -> float:
    """Wall time of `work` on several threads, from their common start to the last one's end."""
    start = Barrier(n_threads + 1)

    def run() -> None:
        start.wait()
        work()

    threads = [Thread(target=run, daemon=True) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin
