"""Aside: calls of the main thread that are made in another one, so that no signal interrupts them halfway.

Python runs signal handlers in the main thread, between any two lines. One that raises, as Ctrl-C does, would leave a
step half done, for the requests of all threads; one that asks the engine for something would find it so. Here the main
thread only waits, and handlers run while it does.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue

from realizar import forks
from realizar.errors import RealizarError

EXIT_S = 5.0
"""How long Python waits, when it ends, for a step that the main thread no longer waits for."""

WAKE_S = 0.2
"""How often a waiting main thread looks for signals where they do not wake it (Windows)."""


_python_ends = False


class Call:
    """A call that is made in another thread.

    Attributes
    ----------
    given_up : bool
        Whether nobody waits for it any more; the function looks at it when it can stop.
    """

    def __init__(self, function: Callable[[Call], None]) -> None:
        self.given_up = False
        self.error: BaseException | None = None
        self.done = threading.Lock()  # one that is only ever waited for, so fork() need not know it
        self.done.acquire()
        self._function = function

    def make(self) -> None:
        """Make it."""
        try:
            self._function(self)
        except BaseException as error:
            self.error = error


class _Team:
    """Threads that are idle, and the calls under way."""

    def __init__(self) -> None:
        self.idle: list[_Thread] = []
        self.calls: set[Call] = set()
        self.has_ended = False

    def end(self) -> list[_Thread]:
        """End the idle threads now and the others when they are done; return the former."""
        self.has_ended = True
        ended = []
        while self.idle:
            ended.append(self.idle.pop())
            ended[-1].calls.put(None)
        return ended


class _Thread(threading.Thread):
    def __init__(self, team: _Team) -> None:
        super().__init__(name="realizar-step", daemon=True)
        self.team = team
        self.calls: SimpleQueue[Call | None] = SimpleQueue()

    def run(self) -> None:
        while (call := self.calls.get()) is not None:
            call.make()
            self.team.idle.append(self)  # first: who waits for the call may make another one at once
            if self.team.has_ended:
                self.team.end()
            call.done.release()
            del call  # what it holds is not kept alive until the next one comes


class Aside:
    """The threads in which one engine's calls from the main thread are made; more than one if a handler calls, too."""

    def __init__(self) -> None:
        self._gather()
        forks.in_child(self._after_fork)

    def _gather(self) -> None:
        """Begin with a team without threads, which ends with this object."""
        self._team = _Team()
        self._end = weakref.finalize(self, self._team.end)
        self._end.atexit = False

    def run(self, function: Callable[[Call], None]) -> None:
        """Call a function and wait for its end; in this thread if it is not the main one, or there can be no other.

        The error is the function's own, or that of a signal handler.
        """
        call = Call(function)
        thread = self._thread() if threading.current_thread() is threading.main_thread() else None
        if thread is None:
            call.make()
        else:
            self._wait(call, thread)
        if call.error is not None:
            raise call.error

    def _wait(self, call: Call, thread: _Thread) -> None:
        calls = self._team.calls
        calls.add(call)
        try:
            thread.calls.put(call)
            while not call.done.acquire(timeout=WAKE_S):
                pass
        finally:
            call.given_up = True
            calls.discard(call)

    def _thread(self) -> _Thread | None:
        """Return an idle thread, or a new one; None if the system gives none, or Python is about to end."""
        if _python_ends or sys.is_finalizing():
            return None
        try:
            return self._team.idle.pop()
        except IndexError:
            thread = _Thread(self._team)
        try:
            thread.start()
        except RuntimeError:
            return None
        return thread

    def close(self) -> None:
        """End the threads that are idle, and wait until they have."""
        for thread in self._team.end():
            if thread is not threading.current_thread():
                thread.join()

    def _after_fork(self) -> None:
        """Go on in a child process, where there are no threads but this one."""
        before = self._team
        self._end.detach()
        self._gather()
        self._team.has_ended = before.has_ended
        for call in before.calls:  # a signal handler forked
            call.error = RealizarError("the process was forked by a signal handler while it waited for the engine")
            call.done.release()


@atexit.register
def _let_them_end() -> None:
    """Wait for steps under way: what they work on is about to be taken down."""
    global _python_ends
    _python_ends = True  # from now on what the main thread asks for is done there
    t_end = time.monotonic() + EXIT_S
    threads = [thread for thread in threading.enumerate() if isinstance(thread, _Thread)]
    for thread in threads:
        thread.calls.put(None)
    for thread in threads:
        thread.join(max(0.0, t_end - time.monotonic()))
