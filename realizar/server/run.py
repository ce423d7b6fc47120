"""Runs the server with uvicorn: what is printed at the start, signals, and the exit status."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from sse_starlette.sse import AppStatus

from realizar.server.app import create_app
from realizar.server.logs import set_up_logs

if TYPE_CHECKING:
    from types import FrameType

    from realizar.server.errors import ApiError
    from realizar.server.settings import Settings

_log = logging.getLogger("realizar.server")


class Server(uvicorn.Server):
    """A server that answers what it has begun after the first signal, and ends at the second."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down, or give up what is under way."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in this context; they are not raised again after it, so that the exit status is ours."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        AppStatus.enable_automatic_graceful_drain = False  # let streams end by themselves at a signal
        await super().startup(sockets)
        if not self.should_exit:
            config, address = self.config, self.servers[0].sockets[0].getsockname()
            host = f"[{config.host}]" if ":" in config.host else config.host
            scheme = "https" if config.ssl_keyfile else "http"
            _log.info("listening on %s", config.uds or f"{scheme}://{host}:{address[1]}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more requests, and wait for those under way."""
        self.config.app.state.is_ready = False  # type: ignore[union-attr]
        _log.info("shutting down: waiting for %d requests; a second signal ends them", len(self.server_state.tasks))
        await super().shutdown(sockets)


def serve(settings: Settings) -> int:
    """Serve until a signal comes; return the exit status: 0, or 1 if the server could not listen or load a model.

    Raises
    ------
    ParameterError
        If the settings contradict each other.
    """
    failures: list[ApiError] = []

    def fail(error: ApiError) -> None:
        failures.append(error)
        server.should_exit = True

    set_up_logs(settings)
    app = create_app(settings, fail)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, uds=None if settings.uds is None else str(settings.uds),
        ssl_keyfile=settings.ssl_keyfile, ssl_certfile=settings.ssl_certfile, log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=int(settings.timeout) + 1, lifespan="on", ws="none",
    )  # fmt: skip
    server = Server(config)
    try:
        server.run()
    except SystemExit:  # uvicorn could not listen, and said why
        return 1
    return 1 if failures else 0
