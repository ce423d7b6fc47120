"""Endpoints of llama-server for LoRA adapters: GET and POST /lora-adapters."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from realizar.server.fields import LoraScale, scales_by_name
from realizar.server.service import Serving
from realizar.server.sse import JSON
from realizar.server.strict_json import StrictRoute

router = APIRouter(route_class=StrictRoute)


@router.get("/lora-adapters", response_model=None)
async def lora_adapters(request: Request) -> Response:
    """List the adapters of the first model; `scale` is that for requests that name no adapter."""
    served = request.app.state.pool.models[0]
    rows = [(i, name, served.lora_scales.get(name, 0.0)) for i, name in enumerate(served.loras)]
    return JSON([{"id": i, "path": name, "scale": scale} for i, name, scale in rows])


@router.post("/lora-adapters", response_model=None)
async def set_lora_adapters(body: list[LoraScale], service: Serving) -> Response:
    """Set the scales for requests that name no adapter; 0 for adapters that are not listed."""
    served = service.pool.models[0]
    served.lora_scales = scales_by_name([scale.model_dump() for scale in body], service.settings)
    return JSON({"success": True})
