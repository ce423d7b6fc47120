"""Endpoints that belong to no protocol, and the list of models: health, readiness, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from realizar.server.errors import not_ready
from realizar.server.sse import JSON
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from realizar.server.models import ModelPool, Served

router = APIRouter(route_class=StrictRoute)


@router.head("/health", response_model=None, include_in_schema=False)
@router.get("/health", response_model=None)
async def health() -> Response:
    """Say that the server runs."""
    return JSON({"status": "ok"})


@router.head("/ready", response_model=None, include_in_schema=False)
@router.get("/ready", response_model=None)
async def ready(request: Request) -> Response:
    """Say whether the server answers requests: not before the first model is loaded, nor once it shuts down."""
    state = request.app.state
    if not state.is_ready:
        progress = state.pool.models[0].progress
        raise not_ready(state.is_closing, "" if progress is None else progress.text)
    return JSON({"status": "ready"})


@router.get("/metrics", response_model=None)
async def metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/models", response_model=None, include_in_schema=False)
@router.get("/v1/models", response_model=None)
async def models(request: Request) -> Response:
    """List the models, each under its name and its aliases."""
    pool: ModelPool = request.app.state.pool
    rows = [_row(name, served) for served in pool.models for name in (served.name, *served.aliases, *served.loras)]
    return JSON({"object": "list", "data": rows})


@router.get("/v1/models/{name:path}", response_model=None)
async def model(name: str, request: Request) -> Response:
    """Describe a model."""
    pool: ModelPool = request.app.state.pool
    return JSON(_row(name, pool.find(name)))


def _row(name: str, served: Served) -> dict[str, Any]:
    row: dict[str, Any] = {"id": name, "object": "model", "created": int(served.loaded_at), "owned_by": "realizar"}
    row |= {"root": served.name, "status": {"value": served.status}}
    if name in served.loras:
        row["parent"] = served.name
    if served.status == "loading" and served.progress is not None:
        row["status"] |= {"stage": served.progress.stage, "progress": served.progress.share}
    return row if served.llm is None else {**row, "max_model_len": served.llm.n_ctx}
