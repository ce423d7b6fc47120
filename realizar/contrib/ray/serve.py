"""app: the server as a Ray Serve application, with the settings of `realizar serve` as its arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ray import serve

from realizar.errors import ParameterError
from realizar.server.app import create_app
from realizar.server.errors import ApiError, not_ready
from realizar.server.logs import set_up_logs
from realizar.server.settings import read_settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application, Deployment

    from realizar.server.settings import Settings

OF_THE_PROXY = ("port", "uds", "ssl_keyfile", "ssl_certfile")
"""Settings of the socket, which belongs to Serve's proxy: see `http_options` of a serve.yaml."""


def app(args: Mapping[str, Any]) -> Application:
    """Return the application for `serve run`, `serve deploy` and a RayService.

    The number of replicas, their CPUs and autoscaling are options of the deployment `Realizar` in the serve.yaml.

    Parameters
    ----------
    args : mapping
        Settings of `realizar serve`, such as `models`, `n_threads` and `api_key_file`. `host` is the name by which
        clients without a key may call the server.

    Raises
    ------
    ParameterError
        If a setting is unknown, invalid, or one of the socket.
    """
    return deployment(args).bind()


def deployment(args: Mapping[str, Any]) -> Deployment:
    """Return the deployment of `app`, whose options can be changed: `deployment(args).options(num_replicas=2)`.

    By default a replica's own queue is full, and answers 429, before Serve holds requests back; and a replica that is
    stopped may answer what it has begun for the `timeout` of a request.
    """
    refused = sorted(set(args) & set(OF_THE_PROXY))
    if refused:
        raise ParameterError(f"args: {', '.join(refused)}: Serve's proxy listens; use http_options in the serve.yaml")
    settings = read_settings(dict(args))
    options = {"max_ongoing_requests": 2 * settings.max_queue, "graceful_shutdown_timeout_s": settings.timeout + 1}
    replica = serve.ingress(lambda: replica_app(settings))(Replica)
    return serve.deployment(name="Realizar", **options)(replica)


def replica_app(settings: Settings) -> FastAPI:
    """Return the ASGI application of a replica, whose start-up ends when the first model is loaded.

    So Serve sends no requests before, and a model that cannot be loaded fails the deployment.
    """
    failures: list[ApiError] = []
    set_up_logs(settings)
    served = create_app(settings, failures.append)
    lifespan = served.router.lifespan_context

    @asynccontextmanager
    async def loaded(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app):
            await app.state.loading
            if failures:
                raise failures[0]
            yield

    served.router.lifespan_context = loaded
    return served


class Replica:
    """What Serve asks a replica besides requests; `serve.ingress` adds `app`, the ASGI application."""

    app: FastAPI

    async def check_health(self) -> None:
        """Raise ApiError, 503, if the server is not ready: Serve then replaces this replica."""
        state = self.app.state
        if not state.is_ready:
            raise not_ready(state.is_closing)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the numbers of running and waiting requests of all models, for `autoscaling.by_queue`."""
        stats = [served.llm.stats() for served in self.app.state.pool.models if served.llm is not None]
        return {
            "running": float(sum(each.n_running for each in stats)),
            "waiting": float(sum(each.n_waiting for each in stats)),
        }
