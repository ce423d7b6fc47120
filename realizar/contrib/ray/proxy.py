"""middlewares: for Serve's HTTP proxies, an error in the API's shape when a replica is lost.

Set RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=realizar.contrib.ray.proxy:middlewares on every node. Without it a client
gets the status 500 and a plain text, which is neither the shape of its API nor a reason to ask again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware import Middleware

from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def middlewares() -> list[Middleware]:
    """Return the middleware of a proxy."""
    return [Middleware(LostReplica)]


class LostReplica:
    """Answers 503 if the replica ended before it began to answer.

    Serve does not send the request to another replica, since the lost one may have computed it; the client may. If the
    answer had begun, the connection is closed before its end, which clients report as an error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        await self._app(scope, receive, noted)
        if scope["type"] == "http" and not has_begun:
            error = ApiError(503, "the replica that computed this request was lost; ask again", "replica_lost")
            await error.response(scope["path"])(scope, receive, send)
