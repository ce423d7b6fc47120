"""ASGI middleware for what fails around the endpoints: clients that do not read, and unexpected exceptions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from realizar.server.sse import told

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("realizar.server")


class UnreadError(Exception):
    """A client did not read its response. No OSError: Starlette takes those for the client's going away."""


class UnreadLimit:
    """Gives up clients that do not read: each part of a response must be sent within so many seconds.

    It is the outermost middleware, since it aborts the connection of uvicorn, to which `send` belongs: to close it
    would wait until the client has read what is buffered.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or give it up."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_given_up = False

        async def limited(message: Message) -> None:
            nonlocal is_given_up
            with anyio.move_on_after(self._seconds) as waiting:
                await send(message)
            if waiting.cancelled_caught:
                is_given_up = True
                raise UnreadError

        try:
            await self._app(scope, receive, limited)
        except Exception:  # UnreadError, or a group of them
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if not is_given_up or transport is None:
                raise
            _log.info("a client read nothing for %g s; its connection is aborted", self._seconds)
            transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass


class Unexpected:
    """Answers requests that fail by an unexpected exception.

    It is within the middleware that adds headers and writes the access log, which Starlette's handler of all exceptions
    is not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; of one that fails, if its response has not begun, with status 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_begun = False

        async def noted(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if is_begun:
                raise
            await told(error).response(scope["path"])(scope, receive, send)
