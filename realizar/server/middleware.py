"""ASGI middleware: request ids and the access log, keys and origins, the limit of a body."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders

from realizar.server.errors import ApiError
from realizar.server.page import page_files

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Paths that need no key, and answer under any name of the server."""
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

    Browsers send no Origin with a GET of a page's own origin, nor with that of an image. So without keys the server
    must be called by a name that others cannot point at it (DNS rebinding), and requests of which a browser says that a
    page of another origin made them are refused. Requests without Origin may have a JSON body of any content type.

    The chat page holds no secrets: it needs no key, though its requests do, and other pages may link to it.

    Parameters
    ----------
    app : ASGI application
    keys : iterable of str
        Keys that give access; without one, all have it.
    origins : iterable of str
        Origins whose pages may use the server; "*" allows all, by any name of the server.
    host : str or None
        The name by which the server may be called, besides localhost, IP addresses and hosts of `origins`; None: any,
        as on a Unix socket, which browsers do not reach.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], origins: Iterable[str], host: str | None = "") -> None:
        self._app = app
        self._keys = {code for key in keys for code in _encoded(key)}
        self._origins = frozenset(origins)
        self._host = None if host is None else host.lower()
        self._hosts = {_host_of(origin) for origin in self._origins} | {self._host or ""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refusal(headers, scope["path"])
        if refused is not None:
            await refused.response(scope["path"])(scope, receive, send)
            return
        if "origin" not in headers:
            _accept_any_content_type(scope)
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> ApiError | None:
        """Return why a request is refused; None if it is not."""
        if self._keys and not (path in OPEN_PATHS or path in page_files() or self._has_key(headers)):
            return ApiError(
                401,  # litellm knows this error by OpenAI's words
                "Incorrect API key provided: send a valid one as Authorization: Bearer KEY, or x-api-key: KEY",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if not self._keys and path not in OPEN_PATHS and not self._knows(headers.get("host")):
            text = (
                f"without keys this server may not be called {headers['host'][:200]!r}; "
                "use its IP address, name it by --host or --cors, or set --api-key-file"
            )
            return ApiError(403, text, "forbidden_host")
        origin = headers.get("origin")
        if origin is None:
            if self._is_of_other_page(headers, path) and "*" not in self._origins:
                return ApiError(403, "pages of other origins may not use this server; see --cors", "forbidden_origin")
        elif not self._allows(origin, headers):
            return ApiError(403, f"pages of {origin[:200]} may not use this server; see --cors", "forbidden_origin")
        return None

    def _has_key(self, headers: Headers) -> bool:
        # Bytes: as text, parts of characters would count as white space.
        raw = dict(headers.raw)
        scheme, _, bearer = raw.get(b"authorization", b"").partition(b" ")
        given = [raw.get(b"x-api-key", b"").strip(b" \t")]
        if scheme.lower() == b"bearer":
            given.append(bearer.strip(b" \t"))
        # All keys are compared, each in constant time.
        return sum(hmac.compare_digest(one, key) for one in given for key in self._keys) > 0

    def _knows(self, host: str | None) -> bool:
        """Whether the header Host is a name of this server; no browser leaves it out."""
        if host is None or self._host is None or "*" in self._origins:
            return True
        name = _host_of(f"//{host}")
        return _is_local(name) or (name != "" and name in self._hosts)

    def _is_of_other_page(self, headers: Headers, path: str) -> bool:
        """Whether a browser says that a page of another origin made a request, but for a link to the chat page."""
        is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (is_link and path in page_files())

    def _allows(self, origin: str, headers: Headers) -> bool:
        name = _host_of(origin)
        # Other names than these may be made to point here (DNS rebinding); but pages of others have no key.
        is_safe = bool(self._keys) or _is_local(name) or (name != "" and name == self._host)
        own = is_safe and origin.partition("://")[2] == headers.get("host")
        return own or "*" in self._origins or origin in self._origins


def _encoded(key: str) -> set[bytes]:
    """Return a key as clients send it: as UTF-8, or as Latin-1 if that has all its characters."""
    return {key.encode()} | ({key.encode("latin-1")} if max(key) <= "\xff" else set())


def _host_of(url: str) -> str:
    """Return the host of a URL, without port and brackets; "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_local(name: str) -> bool:
    return name == "localhost" or _is_address(name)


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
    """Refuses bodies that are too large, without storing them, and bodies that do not arrive in time.

    Most large ones are read to their end first: a client that is still sending when its connection is closed does not
    see the response.

    Parameters
    ----------
    app : ASGI application
    n_bytes : int
        Most bytes of a body.
    timeout_s : float
        Seconds in which all of it must have come.
    """

    def __init__(self, app: ASGIApp, n_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._n_bytes = n_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._timeout_s)
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self._n_bytes:
            if int(declared) <= READ_ANYWAY * self._n_bytes:
                await self._read_rest(body)
            await self._refusal(f"{declared} bytes").response(scope["path"])(scope, receive, send)
            return

        async def counted() -> Message:
            try:
                message = await body.receive()
            except asyncio.TimeoutError:
                text = f"the body did not come within {self._timeout_s:g} s; see --timeout"
                raise ApiError(408, text, "timeout", headers={"Connection": "close"}) from None
            if body.n_bytes > self._n_bytes:
                await self._read_rest(body)
                raise self._refusal("more")
            return message

        await self._app(scope, counted, send)

    async def _read_rest(self, body: _Body) -> None:
        """Read a body to its end, or as much of it as is read of any."""
        most = body.n_bytes + READ_ANYWAY * self._n_bytes
        with suppress(asyncio.TimeoutError):
            while not body.is_complete and body.n_bytes <= most:
                await body.receive()

    def _refusal(self, found: str) -> ApiError:
        text = f"the body may have {self._n_bytes} bytes, found {found}; see --max-body"
        return ApiError(413, text, "body_too_large", headers={"Connection": "close"})


class _Body:
    """Receives a request's body within a time, and after it, without one, that the client is gone."""

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._ends = time.monotonic() + timeout_s
        self.n_bytes = 0
        self.is_complete = False

    async def receive(self) -> Message:
        """Return the next message; raises asyncio.TimeoutError when the body's time is over."""
        if self.is_complete:
            return await self._receive()
        message = await asyncio.wait_for(self._receive(), max(0.0, self._ends - time.monotonic()))
        self.n_bytes += len(message.get("body", b""))
        self.is_complete = not message.get("more_body")
        return message
