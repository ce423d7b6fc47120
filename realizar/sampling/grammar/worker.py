"""Worker: a thread whose jobs can be given up, for computations that nothing can stop from outside.

llguidance computes without the GIL and cannot be interrupted. A thread that is at it too long is left behind: it ends
when its job does, and nobody waits for it.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

STACK_BYTES = 128 << 20
"""llguidance goes down grammars by recursion, up to 20 KiB a level; pages that are not touched cost nothing."""
PATIENCE = 100
"""How many times its limit of processor time a job may take by the clock on the wall, on a machine that is busy."""
EXIT_S = 5.0
"""How long Python waits, when it ends, for jobs under way; one that was given up may never end."""
LOWEST = 19
"""Linux's priority for what may wait."""

T = TypeVar("T")
_stack_size = threading.Lock()


class Job(Generic[T]):
    """A call that a worker makes.

    Parameters
    ----------
    function : callable
        Called without arguments.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._done = threading.Event()
        self._value: T | None = None
        self._error: Exception | None = None
        self._clock: Callable[[], float] | None = None
        self._t_begin = 0.0

    def run(self) -> None:
        """Make the call."""
        clock = _processor_clock()
        self._t_begin, self._clock = clock(), clock
        try:
            if self._function is not None:
                self._value = self._function()
        except Exception as error:
            self._error = error
        except BaseException as error:  # a panic of Rust's; whoever waits shall not take it for one of Python's own
            self._error = RuntimeError(f"{type(error).__name__}: {error}")
        self._function = None
        self._done.set()

    def result(self, limit_s: float) -> T:
        """Return what the call returned, once it has.

        Parameters
        ----------
        limit_s : float
            Seconds of processor time, or where that cannot be read seconds, which the call may take.

        Raises
        ------
        TimeoutError
            The call takes longer.
        Exception
            What the call raised.
        """
        t_end = time.monotonic() + PATIENCE * limit_s
        left = limit_s
        while not self._done.wait(max(left, 1e-4)):
            left = min(limit_s - self._spent(), t_end - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"not done in {limit_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # the function's own, None only if it returned that

    def _spent(self) -> float:
        if self._clock is None:
            return 0.0
        try:
            return self._clock() - self._t_begin
        except OSError:  # the thread is gone, as in a child of fork()
            return math.inf


class Worker:
    """A thread that does one job after the other, from the first one until its worker is collected or given up."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job[object] | None] = SimpleQueue()
        self._close = weakref.finalize(self, self._jobs.put, None)
        self._close.atexit = False
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], T]) -> Job[T]:
        """Have a function called after those submitted before."""
        if self._thread is None:
            self._thread = self._start()
        job = Job(function)
        self._jobs.put(job)  # type: ignore[arg-type]  # a Job of any result
        return job

    def give_up(self) -> None:
        """End the thread behind its jobs; one that it is still at goes on where nobody else wants the processor."""
        self._close()
        thread = self._thread
        if sys.platform == "linux" and thread is not None and thread.is_alive() and thread.native_id is not None:
            with suppress(OSError):  # it has ended by now
                os.setpriority(os.PRIO_PROCESS, thread.native_id, LOWEST)

    def _start(self) -> threading.Thread:
        thread = _Thread(self._jobs)
        with _stack_size:
            before = threading.stack_size(STACK_BYTES)
            try:
                thread.start()
            finally:
                threading.stack_size(before)
        return thread


class _Thread(threading.Thread):
    def __init__(self, jobs: SimpleQueue[Job[object] | None]) -> None:
        super().__init__(name="realizar-grammar", daemon=True)
        self.jobs = jobs

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run()
            del job  # what it returned is not kept alive until the next one comes


@atexit.register
def _let_them_end() -> None:
    """Wait for jobs under way: a thread that comes back from llguidance to find no Python crashes the process."""
    t_end = time.monotonic() + EXIT_S
    threads = [thread for thread in threading.enumerate() if isinstance(thread, _Thread)]
    for thread in threads:
        thread.jobs.put(None)
    for thread in threads:
        thread.join(max(0.0, t_end - time.monotonic()))


def _processor_clock() -> Callable[[], float]:
    """Return a clock of this thread's processor time that other threads may read, or else of the time that passes."""
    if sys.platform == "linux":
        return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
    return time.monotonic
