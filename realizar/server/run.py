"""Runs the server with uvicorn: what is printed at the start, signals, and the exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from sse_starlette.sse import AppStatus

from realizar.errors import ParameterError
from realizar.server.app import create_app
from realizar.server.connections import protocol
from realizar.server.logs import set_up_logs

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from realizar.server.errors import ApiError
    from realizar.server.settings import Settings

KEEP_ALIVE_S = 75
"""Seconds that an idle connection stays open: longer than those of clients, which would else send a request on one that
is just being closed. uvicorn's default, 5, is also httpx', and so that of OpenAI's client."""
SWITCH_S = 5e-4
N_THREADS = 8
"""Threads for work that would hold up the event loop. asyncio's default, four more than CPUs, takes memory for each."""
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
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(N_THREADS, "realizar-server"))
        await super().startup(sockets)
        if not self.should_exit:
            config, address = self.config, self.servers[0].sockets[0].getsockname()
            host = f"[{config.host}]" if ":" in config.host else config.host
            scheme = "https" if config.is_ssl else "http"
            _log.info("listening on %s", config.uds or f"{scheme}://{host}:{address[1]}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more requests, and wait for those under way, or at the second signal cancel them."""
        state = self.config.app.state  # type: ignore[union-attr]
        state.is_ready, state.is_closing = False, True
        _log.info("shutting down: waiting for %d requests; a second signal ends them", len(self.server_state.tasks))
        await super().shutdown(sockets)
        if self.force_exit:
            tasks = set(self.server_state.tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await self.lifespan.shutdown()  # cancelled, it would end with a traceback


def serve(settings: Settings) -> int:
    """Serve until a signal comes; return the exit status: 0, or 1 if the server could not listen or load a model.

    Raises
    ------
    ParameterError
        If the settings contradict each other, or the server cannot listen on a Unix socket.
    """
    failures: list[ApiError] = []

    def fail(error: ApiError) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, fail)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, uds=None if settings.uds is None else str(settings.uds),
        ssl_keyfile=settings.ssl_keyfile, ssl_certfile=settings.ssl_certfile, log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=int(settings.timeout) + 1, lifespan="on", ws="none",
        http=protocol(settings.timeout), timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    try:
        config.load()
    except OSError as error:  # of ssl, too
        raise ParameterError(f"ssl_certfile, ssl_keyfile: cannot be used: {error}") from None
    set_up_logs(settings)
    server = Server(config)
    try:
        with _unix_socket(settings.uds) as sockets, _short_switch_interval():
            server.run(sockets)
    except SystemExit:  # uvicorn could not listen, and said why
        return 1
    return 1 if failures else 0


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Let the event loop's thread have the interpreter sooner than after Python's 5 ms.

    It waits that long after each system call while the engine's thread runs Python code, so that one request takes many
    times as long. Steps release the interpreter while kernels run.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _unix_socket(path: Path | None) -> Iterator[list[socket.socket] | None]:
    """Make a Unix socket that only the user of this process can connect to, and remove it at the end.

    uvicorn would let all users of the machine connect.
    """
    if path is None:
        yield None
        return
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # only the owner can connect to the new socket
    try:
        if path.is_socket():  # of a process that ended without removing it
            path.unlink()
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ParameterError(f"uds={path}: cannot listen there: {error}") from None
    finally:
        os.umask(before)
    try:
        yield [listener]
    finally:
        listener.close()
        path.unlink(missing_ok=True)
