"""Fork-safe locks: in the child of fork(), every lock is free and the state it guards is consistent.

The child has only the thread that forked. A lock that another thread held would stay locked there, and the state it
guards half modified. So fork() first acquires all locks of this module, waiting at most `FORK_TIMEOUT_S`. A lock that
is still held then is reinitialized in the child and marked as broken.

Holding one of these locks while calling a library also keeps fork() away from that library's internal locks (of
`tokenizers` while it compiles a regex, of llguidance while it advances a grammar, of Python's import system).
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
"""Maximum time that fork() waits for all locks together."""

T = TypeVar("T")
_numbers = count()
# By registration number; weak references only.
_locks: dict[int, weakref.ref[Lock]] = {}
_in_child: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}
_acquired: dict[int, list[Lock]] = {}


class Lock(_RLock):  # type: ignore[misc]  # subclassable, although its stub says final
    """A fork-safe reentrant lock for `with`; reentrant because finalizers may run anywhere.

    Acquire and release are implemented in C, where no signal handler runs. In Python, a handler that raises (Ctrl-C)
    between the acquisition and the `with` block would leave the lock held forever.

    Attributes
    ----------
    is_broken : bool
        True in a forked child if another thread of the parent held it; the guarded state may be inconsistent.
    """

    def __init__(self) -> None:
        self.is_broken = False
        number = next(_numbers)
        _locks[number] = weakref.ref(self, lambda _: _locks.pop(number, None) and None)

    def _try_acquire(self, limit_s: float) -> bool:
        return self.acquire(timeout=max(0.0, limit_s))

    def _reinitialize(self) -> None:
        self._at_fork_reinit()  # type: ignore[attr-defined]
        self.is_broken = True


def in_child(method: Callable[[], None]) -> None:
    """Register a bound method to call in every forked child; holds only a weak reference to its object."""
    number = next(_numbers)
    # Not a WeakMethod: dropped in its own callback, it fails where the object and its class end together, as at exit.
    owner, function = method.__self__, method.__func__  # type: ignore[attr-defined]
    _in_child[number] = weakref.ref(owner, lambda _: _in_child.pop(number, None) and None), function


class cached_property(Generic[T]):
    """`functools.cached_property` with a fork-safe lock; that of Python 3.11 has a lock that is not fork-safe."""

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
    """Acquire every lock, never holding one while waiting for another (whose holder may wait for ours)."""
    me, t_end = threading.get_ident(), time.monotonic() + FORK_TIMEOUT_S
    locks = [lock for ref in list(_locks.values()) if (lock := ref()) is not None]
    _acquired[me] = acquired = _acquire_free(locks)
    while len(acquired) < len(locks):
        missing = next(lock for lock in locks if lock not in acquired)
        _release(acquired)
        waited = [missing] if missing._try_acquire(t_end - time.monotonic()) else []
        _acquired[me] = acquired = waited + _acquire_free([lock for lock in locks if lock not in waited])
        if time.monotonic() >= t_end:
            return


def _acquire_free(locks: list[Lock]) -> list[Lock]:
    return [lock for lock in locks if lock._try_acquire(0.0)]


def _release(acquired: list[Lock]) -> None:
    while acquired:
        acquired.pop().release()


def _after_in_parent() -> None:
    _release(_acquired.pop(threading.get_ident(), []))


def _after_in_child() -> None:
    acquired = _acquired.pop(threading.get_ident(), [])
    _acquired.clear()  # also entries of other threads that were about to fork
    for ref in list(_locks.values()):
        lock = ref()
        if lock is not None and lock not in acquired:
            lock._reinitialize()
    _release(acquired)
    for owner_ref, function in list(_in_child.values()):
        owner = owner_ref()
        if owner is not None:
            function(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
