"""InProcess: the server's application without HTTP, for programs that answer requests themselves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers

from realizar.errors import RealizarError
from realizar.server.app import create_app
from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.types import Message

    from realizar.server.settings import Settings

_UNLIMITED = 10**6
"""Seconds of a request, and texts that wait, where the program itself makes the requests."""


class Result(NamedTuple):
    """A response: HTTP status, the id of the request, and the JSON of its body."""

    status: int
    request_id: str
    body: Any


class InProcess:
    """An application whose endpoints are called without HTTP; a body means what it means to `realizar serve`.

    An asynchronous context, in which the first model is loaded. Keys and addresses of the settings are not used, nor
    the limits of the queue and of a request's time.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ParameterError
        If the settings contradict each other.
    RealizarError
        In entering the context, if the first model cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        own = {"api_key": None, "api_key_file": None, "timeout": _UNLIMITED, "max_queue": _UNLIMITED}
        self._app = create_app(settings.model_copy(update=own))

    async def __aenter__(self) -> InProcess:
        state = self._app.state
        try:
            async with state.pool.use(None, is_patient=True):
                state.is_ready = True
        except ApiError as error:
            await state.pool.close()
            raise RealizarError(error.detail) from None
        except BaseException:
            await state.pool.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._app.state.is_ready = False
        await self._app.state.pool.close()

    async def post(self, path: str, body: bytes) -> Result:
        """Answer a request; if the task is cancelled, its computation is, too."""
        client = _Client(body)
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": None,
            "server": None, "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        await self._app(scope, client.receive, client.send)
        return Result(client.status, client.headers["x-request-id"], json.loads(client.body))


class _Client:
    """The two ends of a request: sends a body, and keeps the response."""

    def __init__(self, body: bytes) -> None:
        self._messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self.status = 0
        self.headers = Headers()
        self.body = b""

    async def receive(self) -> Message:
        """Return the body, and then nothing: this client does not go away."""
        if not self._messages:
            await asyncio.get_running_loop().create_future()
        return self._messages.pop()

    async def send(self, message: Message) -> None:
        """Take a part of the response."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], Headers(raw=message["headers"])
        else:
            self.body += message.get("body", b"")
