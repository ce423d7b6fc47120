"""ASGI middleware: request ids and the access log, keys and origins, the limit of a body."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders

from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Paths that need no key."""
READ_ANYWAY = 8
"""Bodies of up to so many times the limit are read, and forgotten, before they are refused."""
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("realizar.access")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that the current task answers."""


class RequestLog:
    """Gives each request an id, which the response has as X-Request-Id, and writes a line to the access log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        own = given if _VALID_ID.fullmatch(given) else uuid4().hex
        token, begin, status = request_id.set(own), time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = own
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begin
            client = (scope.get("client") or ("-",))[0]
            level = logging.DEBUG if scope["path"] in OPEN_PATHS | {"/metrics"} else logging.INFO
            path = quote(scope["path"])  # one line, whatever was asked for
            values = {"client": client, "method": scope["method"], "path": path, "status": status}
            text = "%(client)s %(method)s %(path)s %(status)s in %(seconds).3f s"
            _log.log(level, text, {**values, "seconds": seconds}, extra={"access": {**values, "seconds": seconds}})
            request_id.reset(token)


class Guard:
    """Lets requests with a valid key pass, and of browsers only pages of allowed origins.

    Requests without the header Origin, which every browser sends, may have a JSON body of any content type.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        if not self._has_key(headers) and path not in OPEN_PATHS:
            refused = ApiError(
                401, "a valid API key is needed: Authorization: Bearer KEY, or x-api-key: KEY", "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
            await refused.response(path)(scope, receive, send)
            return
        origin = headers.get("origin")
        if origin is None:
            _accept_any_content_type(scope)
        elif not self._allows(origin, headers):
            refused = ApiError(403, f"pages of {origin[:200]} may not use this server; see --cors", "forbidden_origin")
            await refused.response(path)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_key(self, headers: Headers) -> bool:
        if not self._keys:
            return True
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # All keys are compared, each in constant time.
        return sum(hmac.compare_digest(given.encode(), key) for key in self._keys) > 0

    def _allows(self, origin: str, headers: Headers) -> bool:
        host = urlsplit(origin)
        # Only of addresses and localhost: other names may be made to point here (DNS rebinding).
        is_local = host.hostname == "localhost" or _is_address(host.hostname or "")
        own = is_local and host.netloc == headers.get("host")
        return own or "*" in self._origins or origin in self._origins


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _accept_any_content_type(scope: Scope) -> None:
    """Declare a body as JSON: `curl -d` sends it as a form."""
    if scope["method"] == "POST":
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


class BodyLimit:
    """Refuses bodies that are too large, without keeping what came of them.

    Most of them are read to their end first: a client that is still sending when its connection is closed does not see
    the response.
    """

    def __init__(self, app: ASGIApp, n_bytes: int) -> None:
        self._app = app
        self._n_bytes = n_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self._n_bytes:
            if int(declared) <= READ_ANYWAY * self._n_bytes:
                await self._read_rest(receive)
            await self._refusal(f"{declared} bytes").response(scope["path"])(scope, receive, send)
            return
        n_received = 0

        async def counted() -> Message:
            nonlocal n_received
            message = await receive()
            n_received += len(message.get("body", b""))
            if n_received > self._n_bytes:
                if message.get("more_body"):
                    await self._read_rest(receive)
                raise self._refusal("more")
            return message

        await self._app(scope, counted, send)

    async def _read_rest(self, receive: Receive) -> None:
        """Read a body to its end, or as much of it as is read of any."""
        n = 0
        while n <= READ_ANYWAY * self._n_bytes:
            message = await receive()
            n += len(message.get("body", b""))
            if not message.get("more_body"):
                return

    def _refusal(self, found: str) -> ApiError:
        text = f"the body may have {self._n_bytes} bytes, found {found}; see --max-body"
        return ApiError(413, text, "body_too_large", headers={"Connection": "close"})
