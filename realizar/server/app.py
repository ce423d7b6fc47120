"""The ASGI application: all endpoints, the middleware around them, and how errors become responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from realizar import __version__
from realizar.errors import ParameterError, RealizarError
from realizar.server import (
    anthropic_messages,
    general,
    llama_server,
    lora_adapters,
    ollama,
    ollama_models,
    openai_chat,
    openai_completions,
    openai_responses,
    page,
    slots,
    vectors,
)
from realizar.server.errors import ApiError, invalid_body
from realizar.server.failures import Unexpected, UnreadLimit
from realizar.server.metrics import Metrics
from realizar.server.middleware import BodyLimit, Guard, RequestLog
from realizar.server.models import ModelPool
from realizar.server.openapi import App
from realizar.server.responses_store import ResponseStore
from realizar.server.sse import told

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.server.settings import Settings

_log = logging.getLogger("realizar.server")
_PROTOCOLS = (
    general, openai_chat, openai_completions, openai_responses, vectors, llama_server, lora_adapters, slots,
    anthropic_messages, ollama, ollama_models, page,
)  # fmt: skip


def create_app(settings: Settings, on_failure: Callable[[ApiError], None] | None = None) -> FastAPI:
    """Return the application that serves the models of some settings.

    Its `state` has `settings`, `pool`, `metrics`, `is_ready`: whether the first model is loaded, and `is_closing`;
    while it runs also `loading`, the task that loads that model.

    Parameters
    ----------
    settings : Settings
    on_failure : callable, optional
        Called if the first model cannot be loaded.

    Raises
    ------
    ParameterError
        If the settings contradict each other.
    """
    app = App(
        title="realizar", version=__version__, docs_url=None, redoc_url=None, lifespan=_lifespan,
        middleware=_middleware(settings),
    )  # fmt: skip
    app.state.settings = settings
    app.state.pool = ModelPool(settings)
    app.state.metrics = Metrics(app.state.pool)
    app.state.responses = ResponseStore()
    app.state.is_ready = app.state.is_closing = False
    app.state.on_failure = on_failure
    app.state.traces = None
    if settings.traces:
        app.state.traces = _add_traces(app)
    for module in _PROTOCOLS:
        app.include_router(module.router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RealizarError, _failed)
    app.middleware_stack = UnreadLimit(app.build_middleware_stack(), settings.timeout)
    return app


def _add_traces(app: FastAPI) -> Any:
    try:
        from realizar.server.tracing import TraceRequests, Traces
    except ImportError as error:
        raise ParameterError(f"traces: needs the extra: pip install 'realizar[otel]' ({error})") from None
    traces = Traces()
    app.add_middleware(TraceRequests, traces=traces)
    return traces


def _middleware(settings: Settings) -> list[Middleware]:
    stack = [
        Middleware(RequestLog),
        Middleware(Unexpected),
        Middleware(Guard, settings.keys, settings.cors, settings.host if settings.uds is None else None),
        Middleware(BodyLimit, settings.max_body_bytes, settings.timeout),
    ]
    if settings.cors:  # before the guard: a browser asks for leave without a key
        cors = Middleware(
            CORSMiddleware, allow_origins=settings.cors, allow_methods=["*"], allow_headers=["*"],
            expose_headers=["X-Request-Id"],
        )  # fmt: skip
        stack.insert(1, cors)
    return stack


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the first model while the server already answers /health; unload all at the end."""
    page.page_files()
    app.state.loading = asyncio.create_task(_load_first(app))
    try:
        yield
    finally:
        app.state.loading.cancel()
        await asyncio.wait({app.state.loading})
        await close(app)


async def close(app: FastAPI) -> None:
    """Unload all models, and send the spans that wait; requests that are not done fail."""
    app.state.is_ready, app.state.is_closing = False, True
    await app.state.pool.close()
    if app.state.traces is not None:
        await asyncio.to_thread(app.state.traces.close)


async def _load_first(app: FastAPI) -> None:
    pool: ModelPool = app.state.pool
    try:
        async with pool.use(None, is_patient=True):
            pass
    except ApiError as error:
        if app.state.on_failure is not None:
            app.state.on_failure(error)
    else:
        app.state.is_ready = True


async def _invalid(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return invalid_body(faults).response(request.url.path)


async def _failed(request: Request, error: Exception) -> Response:
    return told(error).response(request.url.path)
