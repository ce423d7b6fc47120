"""Deadline: ends the HTTP connections of a fetch, and waiting for the addresses of names, when its time is over."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from queue import Empty, SimpleQueue
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

    def connect(self, address: tuple[str, int], *how: Any) -> socket.socket:
        """Return a connection as `socket.create_connection` does; looking up the name ends with the deadline, too.

        Raises
        ------
        OSError
            If the name is unknown, no address answers, or the time is over.
        """
        error = OSError(f"{address[0]} has no address")
        for place in self._addresses(*address):
            try:
                return socket.create_connection(place, max(0.001, self.remaining))
            except OSError as failed:
                error = failed
        raise error

    def _addresses(self, host: str, port: int) -> list[tuple[str, int]]:
        """Look a name up in a thread of its own, since nothing ends a look-up."""
        found: SimpleQueue[list[tuple[str, int]] | OSError] = SimpleQueue()

        def look_up() -> None:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found.put([(str(info[4][0]), port) for info in infos])
            except (OSError, UnicodeError) as error:
                found.put(error if isinstance(error, OSError) else OSError(str(error)))

        threading.Thread(target=look_up, name="realizar-resolve", daemon=True).start()
        try:
            result = found.get(timeout=self.remaining)
        except Empty:
            raise TimeoutError(f"the address of {host} was not found in time") from None
        if isinstance(result, OSError):
            raise result
        return result

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
        connection._create_connection = deadline.connect  # type: ignore[attr-defined]
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
