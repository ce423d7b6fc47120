"""Connections whose clients must send the head of a request, its line and headers, in time and within a size.

uvicorn has no such limits: a client that sends half a head, or nothing, would hold its connection for ever.
"""

from __future__ import annotations

import asyncio
import http
import logging
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 30.0
"""Seconds in which all of a head must have come; a shorter time limit of requests holds for it, too."""
HEAD_BYTES = 64 << 10
_log = logging.getLogger("realizar.server")


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits of the head.

    A head begins with the connection, or with the first byte after the last request. Until that byte, uvicorn's own
    limit of idle connections holds.

    Parameters
    ----------
    head_s : float
        Seconds in which all of a head must have come.
    """

    def __init__(self, *arguments: Any, head_s: float = HEAD_S, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_s = head_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._n_head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the time of the first head."""
        super().connection_made(transport)
        self._begin_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the time of a head that will not come."""
        self._end_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read data; refuse a head that is too large."""
        if self._is_in_head:
            self._n_head += len(data)
            if self._head_timer is None and not self._is_answering:
                self._begin_time()
        super().data_received(data)
        if self._is_in_head and self._n_head > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the request's line and headers may have {HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """End the time of the head."""
        self._is_in_head, self._n_head = False, 0
        self._end_time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        self._is_in_head = True
        super().on_message_complete()

    @property
    def _is_answering(self) -> bool:
        """Whether a request is answered; the next head may then take its time."""
        return self.cycle is not None and not self.cycle.response_complete

    def _begin_time(self) -> None:
        self._head_timer = self.loop.call_later(self._head_s, self._time_is_over)

    def _end_time(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _time_is_over(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, f"the request's line and headers did not come within {self._head_s:g} s")

    def _refuse(self, status: int, text: str) -> None:
        """Answer a head that is not complete, and close the connection; one that sent nothing is only closed."""
        if self._n_head:
            body = text.encode()
            head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: text/plain\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            _log.info("a connection of %s is closed: %s", (self.client or ("-",))[0], text)
        self.transport.close()


def protocol(timeout_s: float) -> Any:
    """Return what uvicorn makes protocols of: a head has 30 seconds, or a shorter time limit of requests."""
    return partial(LimitedProtocol, head_s=min(HEAD_S, timeout_s))
