"""Workers: threads whose jobs can be abandoned, for computations that cannot be interrupted.

llguidance computes without the GIL and cannot be interrupted. If a job takes too long, its thread is abandoned: it ends
when the job does, and nothing waits for it.
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
from typing import Any, Generic, TypeVar

from realizar import forks
from realizar.errors import GrammarError

STACK_BYTES = 128 << 20
"""llguidance processes grammars recursively, with up to 20 KiB per level; untouched pages cost nothing."""
WALL_LIMIT_FACTOR = 100
"""Limit on the wall-clock time of a job, as a multiple of its CPU time limit; generous, for a busy machine."""
EXIT_S = 5.0
"""How long Python waits at exit for running jobs; an abandoned one may never end."""
N_THREADS = 4
"""Threads for the grammars of all sequences of a model: a mask takes a fraction of a step."""
LOWEST_PRIORITY = 19
"""The nice value of the lowest priority on Linux."""

T = TypeVar("T")
_stack_size = forks.Lock()


class Job(Generic[T]):
    """A function call for a worker thread.

    Parameters
    ----------
    function : callable
        Called without arguments.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._running = threading.Lock()  # no threading.Event: its lock may be held at a fork
        self._running.acquire()
        self._is_done = False
        self._pid = os.getpid()
        self._value: T | None = None
        self._error: Exception | None = None
        self._clock: Callable[[], float] | None = None
        self._t_begin = 0.0
        self.abandoned = False
        self.native_id: int | None = None

    def run(self) -> None:
        """Make the call."""
        clock = _cpu_clock()
        self.native_id = threading.get_native_id()
        self._t_begin, self._clock = clock(), clock
        try:
            if self._function is not None:
                self._value = self._function()
        except Exception as error:
            self._error = error
        except BaseException as error:  # a Rust panic: the waiting thread must not mistake it for an exit of Python
            self._error = RuntimeError(f"{type(error).__name__}: {error}")
        self._function = None
        self._is_done = True
        self._running.release()

    def result(self, limit_s: float, wall_s: float = math.inf) -> T:
        """Wait for the call and return its result.

        Parameters
        ----------
        limit_s : float
            Limit on the CPU time of the call in seconds (wall-clock time if CPU time is not available); may be inf.
        wall_s : float
            Limit on the wall-clock time of waiting, in seconds.

        Raises
        ------
        TimeoutError
            A limit was exceeded.
        RuntimeError
            This process is a child of fork(), and the call was running in its parent.
        Exception
            The exception that the call raised.
        """
        t_end = time.monotonic() + min(WALL_LIMIT_FACTOR * limit_s, wall_s)
        left = min(limit_s, wall_s)
        while not self._is_done:
            if self._pid != os.getpid():
                raise RuntimeError("the process was forked during this computation; repeat the request")
            if self._running.acquire(timeout=min(max(left, 1e-4), threading.TIMEOUT_MAX)):
                self._running.release()
                break
            left = min(limit_s - self._cpu_s(), t_end - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"not done in {limit_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only if the function returned None

    def abandon(self) -> None:
        """Abandon the call: its thread ends after it, and until then has the lowest priority."""
        self.abandoned = True
        if sys.platform == "linux" and self.native_id is not None and not self._is_done:
            with suppress(OSError):  # the thread has ended
                os.setpriority(os.PRIO_PROCESS, self.native_id, LOWEST_PRIORITY)

    def _cpu_s(self) -> float:
        if self._clock is None:
            return 0.0
        try:
            return self._clock() - self._t_begin
        except OSError:  # the thread is gone
            return math.inf


class Workers:
    """A pool of threads for jobs, which ends when it is garbage-collected.

    Parameters
    ----------
    n_threads : int
        Number of threads; abandoned ones do not count.
    """

    def __init__(self, n_threads: int = N_THREADS) -> None:
        self._n_threads = n_threads
        self._lock = forks.Lock()
        self._begin()
        forks.in_child(self._begin)

    def _begin(self) -> None:
        """Begin without threads, also in a child of fork(), which has none of its parent's threads."""
        self._jobs: SimpleQueue[tuple[Job[Any], ...] | None] = SimpleQueue()
        self._threads: list[_Thread] = []
        self._end = weakref.finalize(self, _end, self._jobs, self._threads)
        self._end.atexit = False

    def start(self) -> None:
        """Start the threads that are missing.

        Raises
        ------
        GrammarError
            If there is no thread and none can be started.
        """
        with self._lock:
            self._threads[:] = [thread for thread in self._threads if not thread.is_abandoned]
            try:
                while len(self._threads) < self._n_threads:
                    thread = _Thread(self._jobs)
                    _start(thread)
                    self._threads.append(thread)
            except (RuntimeError, MemoryError) as error:
                if not self._threads:
                    raise GrammarError(
                        f"cannot start a thread for a grammar ({error}); the system limits threads or memory"
                    ) from error

    def submit(self, function: Callable[[], T]) -> Job[T]:
        """Submit a function call."""
        job = Job(function)
        self.submit_all((job,))
        return job

    def submit_all(self, jobs: tuple[Job[Any], ...]) -> None:
        """Submit jobs that run one after the other; raises as `start` if all threads were abandoned."""
        if all(thread.is_abandoned for thread in self._threads):
            self.start()
        self._jobs.put(jobs)


class _Thread(threading.Thread):
    def __init__(self, jobs: SimpleQueue[tuple[Job[Any], ...] | None]) -> None:
        super().__init__(name="realizar-grammar", daemon=True)
        self.jobs = jobs
        self.current: tuple[Job[Any], ...] = ()
        self._lock = forks.Lock()  # held while llguidance computes, so that fork() waits until it does not

    @property
    def is_abandoned(self) -> bool:
        """Whether its job was abandoned, so that it ends after the job."""
        return any(job.abandoned for job in self.current)

    def run(self) -> None:
        while (jobs := self.jobs.get()) is not None:
            self.current = jobs
            with self._lock:
                for job in jobs:
                    if not self.is_abandoned:
                        job.run()
            if self.is_abandoned:
                return
            self.current = ()
            del jobs, job  # do not keep the results alive while waiting


def _end(jobs: SimpleQueue[tuple[Job[Any], ...] | None], threads: list[_Thread]) -> None:
    for _ in threads:
        jobs.put(None)


def _start(thread: threading.Thread) -> None:
    """Start a thread with a large stack."""
    with _stack_size:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


@atexit.register
def _join_at_exit() -> None:
    """Wait for running jobs: a thread that returns from llguidance after Python has ended crashes the process."""
    t_end = time.monotonic() + EXIT_S
    threads = [thread for thread in threading.enumerate() if isinstance(thread, _Thread)]
    for thread in threads:
        thread.jobs.put(None)
    for thread in threads:
        thread.join(max(0.0, t_end - time.monotonic()))


def _cpu_clock() -> Callable[[], float]:
    """Return a clock of this thread's CPU time that other threads can read, or else the monotonic clock."""
    if sys.platform == "linux":
        return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
    return time.monotonic
