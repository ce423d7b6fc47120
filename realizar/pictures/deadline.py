"""Deadline: ends the HTTP connections of a fetch when its time is over."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import Any


class Deadline:
    """Shuts connections down after some seconds; the timeout of a socket begins anew with every byte.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()
        for one in self._sockets:
            one.close()

    @property
    def remaining(self) -> float:
        """Seconds that remain; 0.0 if the time is over."""
        return max(0.0, self._until - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Shut a connection down when the time is over, also once a TLS socket has taken over its descriptor."""
        self._sockets.append(connection.dup())
        if not self.remaining:
            self._shut()

    def handlers(self) -> tuple[urllib.request.BaseHandler, ...]:
        """Return handlers for an opener, whose connections are watched."""
        return _HTTPHandler(self), _HTTPSHandler(self)

    def _shut(self) -> None:
        for one in self._sockets:
            with suppress(OSError):  # the other side may have closed it
                one.shutdown(socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    deadline: Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.watch(self.sock)


class _TLSConnection(HTTPSConnection, _Connection):
    """Connects by `_Connection`, then shakes hands."""


def _watched(kind: type[_Connection], deadline: Deadline) -> Any:
    """Return what creates connections of this kind, as `do_open` of urllib calls it."""

    def create(host: str, **options: Any) -> _Connection:
        connection = kind(host, **options)
        connection.deadline = deadline
        return connection

    return create


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_watched(_Connection, self._deadline), req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_watched(_TLSConnection, self._deadline), req)
