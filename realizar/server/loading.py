"""Loads a model in a thread that the end of the process does not wait for; what is known of its size before."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realizar.store import MODELS, hub
from realizar.store.hub_names import PREFIX

if TYPE_CHECKING:
    from realizar.async_llm import AsyncLLM


def file_bytes(source: str) -> int:
    """Return the bytes of a model's file, of the first one if there are several; 0 if it is not known yet."""
    if source in MODELS:
        return MODELS[source].n_bytes
    with suppress(OSError, RuntimeError, ValueError):  # loading it says what is wrong
        path = hub.cached(source) if source.startswith(PREFIX) else Path(source).expanduser()
        return path.stat().st_size if path is not None else 0
    return 0


async def load_aside(source: str, params: dict[str, Any]) -> AsyncLLM:
    """Load a model in a daemon thread. If the task is cancelled, the thread closes the model once it has it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[AsyncLLM] = loop.create_future()

    def deliver(result: AsyncLLM | Exception) -> None:
        if isinstance(result, Exception):
            if not future.done():
                future.set_exception(result)
        elif future.done():
            result.engine.close()
        else:
            future.set_result(result)

    def work() -> None:
        result: AsyncLLM | Exception
        try:
            result = _load(source, params)
        except Exception as error:
            result = error
        try:
            loop.call_soon_threadsafe(deliver, result)
        except RuntimeError:  # the loop is closed
            if not isinstance(result, Exception):
                result.engine.close()

    threading.Thread(target=work, name="realizar-load", daemon=True).start()
    return await future


def _load(source: str, params: dict[str, Any]) -> AsyncLLM:
    from realizar.async_llm import AsyncLLM

    llm = AsyncLLM(source, **params)
    try:
        llm.tokenize("")  # builds the tokenizer
    except BaseException:
        llm.engine.close()
        raise
    return llm
