"""GET /api/tags, /api/ps and /api/version, and POST /api/show: what Ollama's API tells of models."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from realizar import __version__
from realizar.gguf.summary import summarize
from realizar.server.fields import Body
from realizar.server.loading import file_bytes
from realizar.server.ollama_shapes import timestamp
from realizar.server.service import Serving
from realizar.server.sse import JSON
from realizar.server.strict_json import StrictRoute
from realizar.store import MODELS

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.server.models import ModelPool, Served

router = APIRouter(route_class=StrictRoute)
API_VERSION = "0.12.11"
"""The version of Ollama whose API this is; clients ask for it to know what they may use."""
FOREVER = "9999-12-31T23:59:59Z"
_NO_DETAILS = {"parent_model": "", "format": "gguf", "family": "", "families": [], "parameter_size": ""}


class ShowBody(Body):
    """The body of POST /api/show."""

    model: str | None = None
    name: str | None = None
    verbose: bool = False


@router.get("/api/version", response_model=None)
async def version() -> Response:
    """Return the version of Ollama's API, and ours."""
    return JSON({"version": API_VERSION, "realizar": __version__})


@router.get("/api/tags", response_model=None)
async def tags(request: Request) -> Response:
    """List the models."""
    pool: ModelPool = request.app.state.pool
    rows = [{**_row(name, served), "size": _size(served)} for served, name in _names(pool)]
    return JSON({"models": [{**row, "modified_at": timestamp(time.time())} for row in rows]})


@router.get("/api/ps", response_model=None)
async def running(request: Request) -> Response:
    """List the loaded models."""
    pool: ModelPool = request.app.state.pool
    rows = []
    for served in pool.models:
        if served.llm is not None:
            ends = served.expires_at
            row = {**_row(served.name, served), "size": served.n_bytes, "size_vram": 0}
            expires = FOREVER if ends is None else timestamp(ends)
            rows.append({**row, "expires_at": expires, "context_length": served.llm.n_ctx})
    return JSON({"models": rows})


@router.post("/api/show", response_model=None)
async def show(body: ShowBody, service: Serving) -> Response:
    """Describe a model, which is loaded for it."""
    llm, served = await service.llm(body.model or body.name)
    summary = await service.in_thread(summarize, llm.engine.model.file)
    info = {key: entry["value"] for key, entry in summary["metadata"].items() if "value" in entry}
    info["general.parameter_count"] = summary["n_weights"]
    template = llm.tokenizer.chat_template
    return JSON(
        {
            "modelfile": "",
            "parameters": "\n".join(f"{name} {value}" for name, value in llm.sampling_defaults.items()),
            "template": "" if template is None else template.source,
            "details": _details(served),
            "model_info": info if body.verbose else {k: v for k, v in info.items() if len(str(v)) < 1000},
            "capabilities": _capabilities(llm),
            "modified_at": timestamp(time.time()),
        }
    )


def _names(pool: ModelPool) -> list[tuple[Served, str]]:
    return [(served, name) for served in pool.models for name in (served.name, *served.aliases)]


def _row(name: str, served: Served) -> dict[str, Any]:
    known = MODELS.get(served.source)
    digest = "" if known is None else known.sha256
    return {"name": name, "model": name, "digest": digest, "details": _details(served)}


def _size(served: Served) -> int:
    """Return the bytes of a model's file; 0 if it has not been downloaded yet."""
    if served.llm is not None:
        return served.llm.engine.model.file.n_bytes
    return file_bytes(served.source)


def _details(served: Served) -> dict[str, Any]:
    """Return what is known of a model; little of one that is not loaded."""
    if served.llm is None:
        return {**_NO_DETAILS, "quantization_level": ""}
    model = served.llm.engine.model
    n_bytes: dict[str, int] = {}
    for info in model.file.tensors.values():
        n_bytes[info.type.name] = n_bytes.get(info.type.name, 0) + info.n_bytes
    n = sum(info.n_elements for info in model.file.tensors.values())
    name = model.architecture.name
    size = f"{n / 1e9:.1f}B" if n >= 1e9 else f"{n / 1e6:.1f}M"
    own = {"family": name, "families": [name], "parameter_size": size}
    return {**_NO_DETAILS, **own, "quantization_level": max(n_bytes, key=n_bytes.__getitem__, default="")}


def _capabilities(llm: AsyncLLM) -> list[str]:
    template, tokenizer = llm.tokenizer.chat_template, llm.tokenizer
    variables = frozenset() if template is None else template.variables
    has = {
        "completion": llm.engine.model.main == "decode",
        "embedding": llm.engine.model.main == "encode",
        "insert": tokenizer.fim is not None,
        "tools": "tools" in variables or tokenizer.tool_template is not None,
        "thinking": template is not None and llm.has_reasoning,
    }
    return [name for name, holds in has.items() if holds]
