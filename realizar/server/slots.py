"""llama-server's slots: GET /slots, and POST /slots/{id} to save a slot's KV cache, to restore or to erase it.

The engine has no slots: its sequences share all blocks. Here a slot is a number that has the tokens of the last request
that was answered under it: the client's choice (`id_slot`), else the one that has been idle for the longest time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fastapi import APIRouter

from realizar.errors import CacheFileError
from realizar.server.errors import ApiError
from realizar.server.fields import Body
from realizar.server.service import Serving
from realizar.server.sse import JSON
from realizar.server.strict_json import StrictRoute

if TYPE_CHECKING:
    from starlette.responses import Response

    from realizar.async_llm import AsyncLLM
    from realizar.server.service import Service
    from realizar.server.slot_table import Slot

T = TypeVar("T")

router = APIRouter(route_class=StrictRoute)
_VALID_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHOWN = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "max_tokens", "ignore_eos")
"""Params of a request that are shown: none of them has a client's text."""


class SlotRequest(Body):
    """The body of POST /slots/{id}."""

    filename: str | None = None
    model: str | None = None


@router.get("/slots", response_model=None)
async def slots(service: Serving, model: str | None = None, fail_on_no_slot: bool = False) -> Response:
    """Describe the slots of a loaded model, without any text."""
    llm, served = await service.llm(model, loads=False)
    found = served.slots.all(llm.params.n_seqs)
    if fail_on_no_slot and all(slot.is_processing for slot in found):
        raise ApiError(503, "all slots are processing", "no_slot")
    return JSON([_described(slot, llm) for slot in found])


def _described(slot: Slot, llm: AsyncLLM) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": slot.number,
        "id_task": slot.n_tasks - 1,
        "n_ctx": llm.n_ctx,
        "speculative": llm.engine.speculator is not None,
        "is_processing": slot.is_processing,
        "n_past": len(slot.tokens),
    }
    request = slot.request
    if request is not None:
        params, n_decoded = request.params, request.n_tokens[2]
        n_left = -1 if params.max_tokens is None else params.max_tokens - n_decoded
        row["params"] = {name: getattr(params, name) for name in _SHOWN}
        row["next_token"] = {"has_next_token": True, "n_remain": n_left, "n_decoded": n_decoded}
    return row


@router.post("/slots/{number}", response_model=None)
async def act(
    number: int, action: Literal["save", "restore", "erase"], service: Serving, body: SlotRequest | None = None
) -> Response:
    """Save the KV cache of a slot to a file of the operator's folder, restore it from there, or erase the slot."""
    folder = service.settings.slot_save_path
    if folder is None:
        raise ApiError(501, "this server saves no slots; start it with --slot-save-path", "not_supported")
    body = body or SlotRequest()
    llm, served = await service.llm(body.model)
    found = served.slots.all(llm.params.n_seqs)
    if not 0 <= number < len(found):
        raise ApiError(400, f"id_slot={number}: there are slots 0 to {len(found) - 1}", "invalid_value", "id_slot")
    slot = found[number]
    if action == "erase":
        n, slot.tokens = len(slot.tokens), []
        return JSON({"id_slot": number, "n_erased": n})
    path, begin = _path(folder, body.filename), time.perf_counter()
    if action == "save":
        if not slot.tokens:
            raise ApiError(400, f"slot {number} has no tokens: no request was answered under it", "invalid_value")
        tokens = await _done(llm.save_cache(path, slot.tokens), path, 503, service)
    else:
        if not path.is_file():
            raise ApiError(404, f"filename={path.name}: there is no such file", "file_not_found", "filename")
        tokens = slot.tokens = await _done(llm.load_cache(path), path, 400, service)
    ms = 1e3 * (time.perf_counter() - begin)
    n_bytes = path.stat().st_size
    names = ("n_saved", "n_written", "save_ms") if action == "save" else ("n_restored", "n_read", "restore_ms")
    return JSON(
        {
            "id_slot": number, "filename": path.name, names[0]: len(tokens), names[1]: n_bytes,
            "timings": {names[2]: ms},
        }
    )  # fmt: skip


def _path(folder: Path, name: str | None) -> Path:
    """Return the path of a file in the operator's folder; raises ApiError, 400, for all other names."""
    if name is None or not _VALID_NAME.fullmatch(name):
        text = "filename: 1 to 128 letters, digits, '_', '-' and '.' are needed, and neither '-' nor '.' in front"
        raise ApiError(400, text, "invalid_value", "filename")
    path = folder / name
    if path.is_symlink():
        raise ApiError(400, f"filename={name}: is a link", "invalid_value", "filename")
    return path


async def _done(work: Awaitable[T], path: Path, status: int, service: Service) -> T:
    """Return a result within the time of a request; no error has the operator's folder."""
    try:
        return await service.unless_gone(asyncio.wait_for(work, service.settings.timeout))
    except asyncio.TimeoutError:
        raise ApiError(503, "the slot's time is over; see --timeout", "timeout") from None
    except CacheFileError as error:
        raise ApiError(status, str(error).replace(str(path), path.name), "invalid_file", "filename") from None
