"""Streams of server-sent events and of JSON lines: pings, errors in the middle, JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response, StreamingResponse

from realizar.server.errors import ApiError, as_api_error

PING_S = 15
"""Seconds between pings, which keep proxies from closing a stream that is silent."""
_log = logging.getLogger("realizar.server")


def as_json(value: Any) -> str:
    """Return compact JSON, in ASCII: text may have characters that are no UTF-8."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class JSON(Response):
    """A response of JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return as_json(content).encode()


def events(
    stream: AsyncIterator[tuple[str | None, Any]], error: Callable[[ApiError], tuple[str | None, Any]],
    ping: tuple[str, Any] | None = None,
) -> EventSourceResponse:  # fmt: skip
    """Return a stream of server-sent events.

    Parameters
    ----------
    stream : async iterator
        Pairs of an event's name, or None, and its data: text, or a value that becomes JSON.
    error : callable
        Returns the event that tells of an error in the middle of the stream, which ends it.
    ping : (str, value), optional
        The event that is sent every 15 seconds; by default a comment.
    """

    def event(name: str | None, data: Any) -> ServerSentEvent:
        return ServerSentEvent(data if isinstance(data, str) else as_json(data), event=name, sep="\n")

    async def sent() -> AsyncIterator[ServerSentEvent]:
        try:
            async for name, data in stream:
                yield event(name, data)
        except Exception as problem:
            yield event(*error(told(problem)))

    def pinged() -> ServerSentEvent:
        return ServerSentEvent(comment="ping", sep="\n") if ping is None else event(*ping)

    return EventSourceResponse(
        sent(), ping=PING_S, sep="\n", ping_message_factory=pinged,
        headers={"Cache-Control": "no-store"},
    )  # fmt: skip


def lines(stream: AsyncIterator[Any], error: Callable[[ApiError], Any]) -> StreamingResponse:
    """Return a stream of values as lines of JSON; `error` returns the last line where it fails."""

    async def sent() -> AsyncIterator[str]:
        try:
            async for value in stream:
                yield as_json(value) + "\n"
        except Exception as problem:
            yield as_json(error(told(problem))) + "\n"

    return StreamingResponse(sent(), media_type="application/x-ndjson")


def told(problem: Exception) -> ApiError:
    """Return an exception as what the client is told; log what it is not told."""
    error = as_api_error(problem)
    if error.status_code == 500:
        _log.error("a request failed", exc_info=problem)
    return error
