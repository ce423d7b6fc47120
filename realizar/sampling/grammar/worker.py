"""Workers: threads whose jobs can be given up, for computations that nothing can stop from outside.

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
from typing import Any, Generic, TypeVar

from realizar import forks
from realizar.errors import GrammarError

STACK_BYTES = 128 << 20
"""llguidance goes down grammars by recursion, up to 20 KiB a level; pages that are not touched cost nothing."""
PATIENCE = 100
"""How many times its limit of processor time a job may take by the clock on the wall, on a machine that is busy."""
EXIT_S = 5.0
"""How long Python waits, when it ends, for jobs under way; one that was given up may never end."""
N_THREADS = 4
"""Threads that follow the grammars of all texts of a model: a mask takes a fraction of a step."""
LOWEST = 19
"""Linux's priority for what may wait."""

T = TypeVar("T")
_stack_size = forks.Lock()


class Job(Generic[T]):
    """A call that a worker makes.

    Parameters
    ----------
    function : callable
        Called without arguments.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._under_way = threading.Lock()  # no threading.Event: the lock of that may be held at a fork
        self._under_way.acquire()
        self._is_done = False
        self._pid = os.getpid()
        self._value: T | None = None
        self._error: Exception | None = None
        self._clock: Callable[[], float] | None = None
        self._t_begin = 0.0
        self.given_up = False
        self.native_id: int | None = None

    def run(self) -> None:
        """Make the call."""
        clock = _processor_clock()
        self.native_id = threading.get_native_id()
        self._t_begin, self._clock = clock(), clock
        try:
            if self._function is not None:
                self._value = self._function()
        except Exception as error:
            self._error = error
        except BaseException as error:  # a panic of Rust's; whoever waits shall not take it for one of Python's own
            self._error = RuntimeError(f"{type(error).__name__}: {error}")
        self._function = None
        self._is_done = True
        self._under_way.release()

    def result(self, limit_s: float, wall_s: float = math.inf) -> T:
        """Return what the call returned, once it has.

        Parameters
        ----------
        limit_s : float
            Seconds of processor time, or where that cannot be read seconds, which the call may take; may be infinite.
        wall_s : float
            Seconds by the clock on the wall after which to wait no longer.

        Raises
        ------
        TimeoutError
            The call takes longer.
        RuntimeError
            This process is a child of fork(), and the call was under way in its parent.
        Exception
            What the call raised.
        """
        t_end = time.monotonic() + min(PATIENCE * limit_s, wall_s)
        left = min(limit_s, wall_s)
        while not self._is_done:
            if self._pid != os.getpid():
                raise RuntimeError("the process was forked while this was computed; ask again")
            if self._under_way.acquire(timeout=min(max(left, 1e-4), threading.TIMEOUT_MAX)):
                self._under_way.release()
                break
            left = min(limit_s - self._spent(), t_end - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"not done in {limit_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # the function's own, None only if it returned that

    def give_up(self) -> None:
        """Have the thread that is at it end behind it; until then it runs where nobody else wants the processor."""
        self.given_up = True
        if sys.platform == "linux" and self.native_id is not None and not self._is_done:
            with suppress(OSError):  # it has ended by now
                os.setpriority(os.PRIO_PROCESS, self.native_id, LOWEST)

    def _spent(self) -> float:
        if self._clock is None:
            return 0.0
        try:
            return self._clock() - self._t_begin
        except OSError:  # the thread is gone
            return math.inf


class Workers:
    """Threads that share jobs, until these are collected.

    Parameters
    ----------
    n_threads : int
        So many at a time; one that was given up no longer counts.
    """

    def __init__(self, n_threads: int = N_THREADS) -> None:
        self._n_threads = n_threads
        self._lock = forks.Lock()
        self._begin()
        forks.in_child(self._begin)

    def _begin(self) -> None:
        """Have no thread yet, or none any more: a child of fork() has but one, and it is none of these."""
        self._jobs: SimpleQueue[tuple[Job[Any], ...] | None] = SimpleQueue()
        self._threads: list[_Thread] = []
        self._end = weakref.finalize(self, _end, self._jobs, self._threads)
        self._end.atexit = False

    def start(self) -> None:
        """Start the threads that are missing.

        Raises
        ------
        GrammarError
            If there are none, and none can be started.
        """
        with self._lock:
            self._threads[:] = [thread for thread in self._threads if not thread.leaves]
            try:
                while len(self._threads) < self._n_threads:
                    thread = _Thread(self._jobs)
                    _start(thread)
                    self._threads.append(thread)
            except (RuntimeError, MemoryError) as error:
                if not self._threads:
                    raise GrammarError(
                        f"no thread can be started to follow a grammar ({error}); the system limits threads or memory"
                    ) from error

    def submit(self, function: Callable[[], T]) -> Job[T]:
        """Have a function called."""
        job = Job(function)
        self.submit_all((job,))
        return job

    def submit_all(self, jobs: tuple[Job[Any], ...]) -> None:
        """Have some jobs done, one after the other. Raises as `start`, in case every thread was given up."""
        if all(thread.leaves for thread in self._threads):
            self.start()
        self._jobs.put(jobs)


class _Thread(threading.Thread):
    def __init__(self, jobs: SimpleQueue[tuple[Job[Any], ...] | None]) -> None:
        super().__init__(name="realizar-grammar", daemon=True)
        self.jobs = jobs
        self.current: tuple[Job[Any], ...] = ()
        self._lock = forks.Lock()  # so that a child of fork() finds llguidance at rest

    @property
    def leaves(self) -> bool:
        """Whether it was given up and ends behind its job."""
        return any(job.given_up for job in self.current)

    def run(self) -> None:
        while (jobs := self.jobs.get()) is not None:
            self.current = jobs
            with self._lock:
                for job in jobs:
                    if not self.leaves:
                        job.run()
            if self.leaves:
                return
            self.current = ()
            del jobs, job  # what they returned is not kept alive until the next ones come


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
