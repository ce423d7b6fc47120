"""Forks: locks that a child of fork() finds as if every thread of its parent had left them.

A child has one thread, the one that forked. What another thread was about to do is never done there: a lock that it
held stays locked, and what the lock guards stays half changed. So fork() waits until the locks of this module are free,
`FORK_TIMEOUT_S` at most; one that is still held then is replaced in the child by a new one, and says that it is broken.

Whoever holds a lock while another library works also keeps fork() away from the locks of that library (of `tokenizers`
where it compiles a regex, of llguidance where it follows a grammar, of Python where it imports a module).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from _thread import RLock as _RLock
from collections.abc import Callable
from itertools import count
from typing import Any, Generic, TypeVar, overload

FORK_TIMEOUT_S = 2.0
"""How long a fork waits for all locks together."""

T = TypeVar("T")
_numbers = count()
# By a number of their own; none is kept alive.
_locks: dict[int, weakref.ref[Lock]] = {}
_in_child: dict[int, weakref.WeakMethod[Callable[[], None]]] = {}
_taken: dict[int, list[Lock]] = {}


class Lock(_RLock):  # type: ignore[misc]  # it may be inherited from, whatever its stub says
    """A lock for `with`. The thread that holds it may take it again: a finalizer may run anywhere.

    What takes and leaves it is C's own, where no signal handler runs: one that raises, as Ctrl-C does, between a method
    that has taken it and the `with` that leaves it would have it held for ever.

    Attributes
    ----------
    is_broken : bool
        Whether, in this child of fork(), another thread of the parent held it: what it guards may be half changed.
    """

    def __init__(self) -> None:
        self.is_broken = False
        number = next(_numbers)
        _locks[number] = weakref.ref(self, lambda _: _locks.pop(number, None) and None)

    def _take(self, limit_s: float) -> bool:
        return self.acquire(timeout=max(0.0, limit_s))

    def _renew(self) -> None:
        self._at_fork_reinit()  # type: ignore[attr-defined]
        self.is_broken = True


def in_child(method: Callable[[], None]) -> None:
    """Have a bound method called in every child of fork(), as long as its object lives; it is not kept alive."""
    number = next(_numbers)
    _in_child[number] = weakref.WeakMethod(method, lambda _: _in_child.pop(number, None) and None)


class cached_property(Generic[T]):
    """`functools.cached_property` with a lock that fork() knows; Python 3.11's has one that it does not."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._lock = Lock()
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> cached_property[T] | T:
        if instance is None:
            return self
        with self._lock:
            found = instance.__dict__
            if self._name not in found:
                found[self._name] = self._make(instance)
            value: T = found[self._name]
            return value


def _before() -> None:
    """Take every lock; none is kept while another is waited for, since who holds that may be waiting for this one."""
    me, t_end = threading.get_ident(), time.monotonic() + FORK_TIMEOUT_S
    locks = [lock for ref in list(_locks.values()) if (lock := ref()) is not None]
    _taken[me] = taken = _take_free(locks)
    while len(taken) < len(locks):
        missing = next(lock for lock in locks if lock not in taken)
        _leave(taken)
        waited = [missing] if missing._take(t_end - time.monotonic()) else []
        _taken[me] = taken = waited + _take_free([lock for lock in locks if lock not in waited])
        if time.monotonic() >= t_end:
            return


def _take_free(locks: list[Lock]) -> list[Lock]:
    return [lock for lock in locks if lock._take(0.0)]


def _leave(taken: list[Lock]) -> None:
    while taken:
        taken.pop().release()


def _after_in_parent() -> None:
    _leave(_taken.pop(threading.get_ident(), []))


def _after_in_child() -> None:
    taken = _taken.pop(threading.get_ident(), [])
    _taken.clear()  # by threads that were about to fork, too
    for ref in list(_locks.values()):
        lock = ref()
        if lock is not None and lock not in taken:
            lock._renew()
    _leave(taken)
    for method in list(_in_child.values()):
        call = method()
        if call is not None:
            call()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
