"""Loads a model in a thread that the end of the process does not wait for; how far it has come, and how large it is."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from realizar import store
from realizar.errors import RealizarError
from realizar.server.templates import use_template
from realizar.store import MODELS, hub
from realizar.store.hub_names import PREFIX
from realizar.store.progress import listener

if TYPE_CHECKING:
    from rich.progress import Progress

    from realizar.async_llm import AsyncLLM

_log = logging.getLogger("realizar.server")


class LoadProgress:
    """How far the load of a model has come.

    Parameters
    ----------
    name : str
        The model's name, for the log.

    Attributes
    ----------
    stage : str
        "waiting" for others, "fetching" (and verifying) the file, "opening" it, or "building the tokenizer".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._download: Progress | None = None
        self.stage = "waiting"

    def begin(self, stage: str) -> None:
        """Begin a stage."""
        self.stage = stage
        _log.info("%s: %s", self._name, stage)

    def download(self, progress: Progress) -> None:
        """Note a download, which tells how far it has come."""
        self._download = progress

    @property
    def share(self) -> float | None:
        """Share of the bytes of a download that has come; None if nothing is downloaded."""
        if self.stage != "fetching" or self._download is None:
            return None
        tasks = [task for task in self._download.tasks if task.total]
        total = sum(task.total or 0.0 for task in tasks)
        return sum(task.completed for task in tasks) / total if total else None

    @property
    def text(self) -> str:
        """The stage, and the share in percent."""
        return self.stage if self.share is None else f"{self.stage}, {self.share:.0%}"


def file_bytes(source: str) -> int:
    """Return the bytes of a model's file, of the first one if there are several; 0 if it is not known yet."""
    if source in MODELS:
        return MODELS[source].n_bytes
    with suppress(OSError, RuntimeError, ValueError, RealizarError):  # loading it says what is wrong
        path = hub.cached(source) if source.startswith(PREFIX) else Path(source).expanduser()
        return path.stat().st_size if path is not None else 0
    return 0


async def load_aside(
    source: str, params: dict[str, Any], progress: LoadProgress, template: str | None = None,
    loras: Mapping[str, str] = MappingProxyType({}),
) -> AsyncLLM:  # fmt: skip
    """Load a model in a daemon thread. If the task is cancelled, such a thread closes the model once it is loaded.

    Parameters
    ----------
    source : str
        What it is loaded from.
    params : dict
        Of its engine.
    progress : LoadProgress
    template : str, optional
        See `use_template`.
    loras : mapping
        Names of LoRA adapters -> paths.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[AsyncLLM] = loop.create_future()

    def deliver(result: AsyncLLM | Exception) -> None:
        if isinstance(result, Exception):
            if not future.done():
                future.set_exception(result)
        elif future.done():  # closing waits for the engine's thread, and frees memory
            _in_daemon("realizar-unload", result.engine.close)
        else:
            future.set_result(result)

    def work() -> None:
        result: AsyncLLM | Exception
        try:
            result = _load(source, params, progress, template, loras)
        except Exception as error:
            result = error
        try:
            loop.call_soon_threadsafe(deliver, result)
        except RuntimeError:  # the loop is closed
            if not isinstance(result, Exception):
                result.engine.close()

    _in_daemon("realizar-load", work)
    return await future


def _in_daemon(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def _load(
    source: str, params: dict[str, Any], progress: LoadProgress, template: str | None, loras: Mapping[str, str]
) -> AsyncLLM:
    from realizar.async_llm import AsyncLLM

    listener.set(progress.download)  # for this thread
    progress.begin("fetching")
    path = store.resolve(source)
    progress.begin("opening")
    llm = AsyncLLM(path, **params)
    progress.begin("building the tokenizer")
    try:
        llm.tokenize("")  # builds the tokenizer
        if template is not None:
            use_template(llm, template)
        for name, adapter in loras.items():
            llm.add_lora(name, adapter)
    except BaseException:
        llm.engine.close()
        raise
    return llm
