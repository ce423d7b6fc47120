"""EngineLoop: the thread that steps an engine while there is work, and delivers events to handles and waiters."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from realizar import forks
from realizar.engine.handle import WAKE_S, Feed, Handle
from realizar.errors import RealizarError, ReentryError

if TYPE_CHECKING:
    from realizar.engine.engine import Engine
    from realizar.engine.request import Request

EXIT_S = 5.0
"""How long Python waits, when it ends, for the steps that are under way."""

_python_ends = False
_waits: dict[int, EngineLoop] = {}
"""Thread -> the loop that it waits for."""


class Waiter:
    """Someone who waits until a condition holds.

    Parameters
    ----------
    ready : callable
        The condition; the loop asks it after each step.
    wake : callable
        Called once, by the loop, when it holds or can no longer come to hold.
    thread : int, optional
        The thread that waits.
    """

    def __init__(self, ready: Callable[[], bool], wake: Callable[[], object], thread: int | None = None) -> None:
        self.ready = ready
        self.wake = wake
        self.thread = thread
        self.error: BaseException | None = None

    def is_ready(self) -> bool:
        """Whether the condition holds, or cannot be asked."""
        try:
            return self.ready()
        except BaseException as error:
            self.error = error
            return True


class _Shared:
    """What the thread and the loop share; it does not keep the engine alive."""

    def __init__(self, engine: Engine) -> None:
        self.engine = weakref.ref(engine)
        self.has_ended = False
        self.owner: dict[str, int] = {}
        self.feeds: dict[Feed, None] = {}
        self.waiters: dict[Waiter, None] = {}
        self.calls: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        """Have the thread look for work; anyone may call this anywhere."""
        self.calls.put(None)

    def end(self) -> None:
        """Let the thread end when its step is done."""
        self.has_ended = True
        self.wake()

    def sleep(self, seconds: float | None) -> None:
        """Sleep until woken, at most so long."""
        try:
            self.calls.get(timeout=seconds)
            while True:
                self.calls.get_nowait()
        except Empty:
            pass

    def deliver(self) -> None:
        """Queue the events of the requests, and wake those who wait for them."""
        for feed in list(self.feeds):
            if feed.deliver():
                self.feeds.pop(feed, None)
        self._release_ready()

    def _release_ready(self) -> None:
        for waiter in list(self.waiters):
            if waiter.is_ready():
                self._release(waiter)

    def _release(self, waiter: Waiter) -> None:
        if self.waiters.pop(waiter, self) is not self:
            with suppress(RuntimeError):  # the event loop of the one who waited is closed
                waiter.wake()

    def fail(self, error: BaseException) -> None:
        """Pass on an error that does not belong to a single request to all who wait."""
        for feed in list(self.feeds):
            feed.fail(error)
            self.feeds.pop(feed, None)
            self.wake()  # to give back what the request holds
        for waiter in list(self.waiters):
            waiter.error = error
            self._release(waiter)

    def leave(self, error: BaseException) -> None:
        """Pass on to this thread, in a child of fork(), that its wait has no end; forget all other threads."""
        me = threading.get_ident()
        for waiter in list(self.waiters):
            if waiter.thread == me:
                waiter.error = error
                self._release(waiter)

    def turn(self, engine: Engine) -> float | None:
        """Make a step if there is work; return how long to sleep then (None: until woken)."""
        if engine.is_closed:
            self.fail(RealizarError("the model was closed before the request was done"))
            engine.shut()
            self.has_ended = True
            return 0.0
        try:
            self._release_ready()
            if self.waiters or not all(feed.request.is_paused for feed in list(self.feeds)):
                has_computed = engine.step_once(self.deliver)
            else:
                has_computed = False
                engine.tidy(self.deliver)
            return 0.0 if has_computed or engine.scheduler.has_over else engine.scheduler.seconds_left()
        except BaseException as error:
            self.fail(error)
            return None  # nobody is left to step for; those who come wake the thread


def _run(shared: _Shared) -> None:
    """Step the engine of `shared` until that ends: the thread's work."""
    me = threading.get_ident()
    if shared.owner.setdefault("thread", me) != me:
        return  # another one began first
    while not shared.has_ended:
        engine = shared.engine()
        if engine is None:
            return
        pause = shared.turn(engine)
        del engine
        if pause is None or pause > 0:
            shared.sleep(pause)


class EngineLoop:
    """Steps an engine in a thread of its own, "realizar-engine", while there is work; else the thread sleeps.

    The thread is started when it is first needed, and again in a child of fork(). It ends when the engine is closed,
    when the last reference to the engine goes, and when Python ends. Signal handlers run in the main thread, which only
    waits, so that one that raises, as Ctrl-C does, never leaves a step half done.

    Parameters
    ----------
    engine : Engine
        It is not kept alive by its loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)
        self._lock = forks.Lock()
        self._begin(engine)
        forks.in_child(self._after_fork)

    def _begin(self, engine: Engine) -> None:
        self._thread: threading.Thread | None = None
        self._shared = _Shared(engine)
        self._end = weakref.finalize(self, self._shared.end)
        self._end.atexit = False

    def submit(self, request: Request, most: int | None = None, notify: Callable[[], None] | None = None) -> Handle:
        """Compute an added request in the loop, and return the handle that its events are read from.

        Parameters
        ----------
        request : Request
        most : int, optional
            Steps whose events may wait to be read; then the request pauses.
        notify : callable, optional
            Called by the loop's thread when there are new events.

        Raises
        ------
        RealizarError
            If the engine is closed.
        """
        engine = self._engine()
        if engine is None or engine.is_closed:
            raise RealizarError("the model was closed before the request was done")
        feed = Feed(request, notify, most)
        self._shared.feeds[feed] = None
        self.start()
        self.wake()
        return Handle(engine, feed)

    def wake(self) -> None:
        """Have the thread, if there is one, look for work."""
        if self._thread is not None:
            self._shared.wake()

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it does: not if Python is about to end, or can start none."""
        if _python_ends or sys.is_finalizing() or self._shared.has_ended:
            return False
        if self._thread is not None:
            return True
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=_run, args=(self._shared,), name="realizar-engine", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                _threads[thread] = self._shared
                self._thread = thread
        return True

    def add(self, waiter: Waiter) -> None:
        """Have the loop check a condition after each step; the thread must run."""
        self._shared.waiters[waiter] = None
        self.wake()

    def discard(self, waiter: Waiter) -> None:
        """Wait no more for a condition."""
        self._shared.waiters.pop(waiter, None)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()`, while the thread steps; where there can be none, step here. Raises as `Engine.wait`."""
        with Waiting(self):
            if not self.start():
                self._step_here(ready)
                return
            done = threading.Lock()  # only ever waited for, so fork() need not know it
            done.acquire()
            waiter = Waiter(ready, done.release, threading.get_ident())
            self.add(waiter)
            try:
                while not done.acquire(timeout=WAKE_S):
                    if self._shared.has_ended and self.discarded(waiter):
                        self._step_here(ready)
                        return
            finally:
                self.discard(waiter)
            if waiter.error is not None:
                raise waiter.error

    def discarded(self, waiter: Waiter) -> bool:
        """Take back a waiter if the thread has ended; return whether no thread has woken it."""
        return (self._thread is None or not self._thread.is_alive()) and self._shared.waiters.pop(waiter, 1) is None

    def _step_here(self, ready: Callable[[], bool]) -> None:
        engine = self._engine()
        if engine is not None:
            engine.step_until(ready, self._shared.deliver)

    def step_here_until_fed(self, feed: Feed) -> None:
        """Step in this thread until a request has events."""
        self._step_here(lambda: not feed.is_empty)

    def threads(self) -> set[int | None]:
        """The threads that must not wait for this loop."""
        engine = self._engine()
        own = {self._shared.owner.get("thread")}
        return own if engine is None else own | {engine.stepper}

    def close(self) -> None:
        """Let the thread close the engine when its step is done, and wait until it has; without one, close it here."""
        thread, engine = self._thread, self._engine()
        if thread is not None and thread.is_alive() and not _python_ends:
            self._shared.wake()
            while thread.is_alive():
                thread.join(WAKE_S)
        if engine is not None:
            self._shared.fail(RealizarError("the model was closed before the request was done"))
            engine.shut()

    def _after_fork(self) -> None:
        """Go on in a child process, which has no thread but the one that forked."""
        me, before = threading.get_ident(), self._shared
        _waits.clear()
        if before.owner.get("thread") == me:  # a sampler forked
            before.calls = SimpleQueue()
            before.waiters.clear()
            return
        self._end.detach()
        engine = self._engine()
        if engine is None:
            return
        self._begin(engine)
        self._shared.feeds, self._shared.has_ended = before.feeds, before.has_ended
        before.leave(RealizarError("the process was forked by a signal handler while it waited for the engine"))


class Waiting:
    """Mark a thread as one that waits for a loop.

    Raises
    ------
    ReentryError
        On entry, if the loop would wait for this thread in turn: a step is under way in it.
    """

    def __init__(self, loop: EngineLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        me = threading.get_ident()
        self._me, self._before = me, _waits.get(me)
        _waits[me] = self._loop  # first: of two threads that are about to wait for each other, one sees the other
        if leads_to(self._loop, me):
            self._leave()
            raise ReentryError(
                "the engine was asked for an answer from within one of its steps (by a sampler, or by a finalizer that "
                "ran there); ask another LLM, or ask between two steps"
            )

    def __exit__(self, *error: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._before is None:
            _waits.pop(self._me, None)
        else:
            _waits[self._me] = self._before


def leads_to(loop: EngineLoop, thread: int) -> bool:
    """Whether a loop waits for a thread: it is stepped there, or by one that waits for such a loop."""
    todo, seen = [loop], {loop}
    while todo:
        for stepping in todo.pop().threads():
            if stepping == thread:
                return True
            waited = None if stepping is None else _waits.get(stepping)
            if waited is not None and waited not in seen:
                seen.add(waited)
                todo.append(waited)
    return False


_threads: weakref.WeakKeyDictionary[threading.Thread, _Shared] = weakref.WeakKeyDictionary()


@atexit.register
def _end_loops() -> None:
    """At exit, let the steps under way end before the interpreter frees what they use."""
    global _python_ends
    _python_ends = True  # from now on a thread that waits makes the steps itself
    t_end = time.monotonic() + EXIT_S
    threads = [(thread, shared) for thread, shared in list(_threads.items()) if thread.is_alive()]
    for _, shared in threads:
        shared.end()
    for thread, _ in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, t_end - time.monotonic()))
