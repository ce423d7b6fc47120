"""ModelPool: the models that are served: loaded at first use, the least recently used unloaded when memory runs out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from realizar._kernels import table
from realizar.errors import ParameterError
from realizar.server.errors import ApiError, not_ready
from realizar.server.loading import LoadProgress, file_bytes, load_aside
from realizar.server.settings import GIB
from realizar.server.slot_table import SlotTable
from realizar.server.templates import read_template

if TYPE_CHECKING:
    from realizar.async_llm import AsyncLLM
    from realizar.server.settings import Settings

_log = logging.getLogger("realizar.server")


@dataclass(eq=False)
class Served:
    """A model that is served, loaded or not.

    Attributes
    ----------
    name, source : str
        Its name for clients; what it is loaded from.
    aliases : list of str
    loras : dict
        Name of a LoRA adapter, which is a model for clients -> its path.
    lora_scales : dict
        Name of a LoRA adapter -> scale for requests that name no adapter.
    template : str or None
        What `read_template` returned, if the operator gave a chat template for it.
    mmproj : str or None
        The file with its encoders of pictures and sounds, if the operator gave one.
    llm : AsyncLLM or None
        None unless it is loaded.
    status : str
        "unloaded", "loading", "loaded", or "failed".
    n_bytes_needed : int
        Bytes that are kept free for it before it is loaded: those it needed before, or of its file.
    n_users : int
        Requests that use it now.
    last_used, loaded_at : float
        By `time.time`.
    progress : LoadProgress or None
        Of the last load.
    load_s : float
        Seconds that it took to load it.
    keep_alive_s : float or None
        Idle seconds after which it is unloaded; None: never.
    slots : SlotTable
    loading : Task or None
        Loads it, or has loaded it.
    timer : TimerHandle or None
        Unloads it when `keep_alive_s` is over.
    """

    name: str
    source: str
    aliases: list[str] = field(default_factory=list)
    loras: dict[str, str] = field(default_factory=dict)
    lora_scales: dict[str, float] = field(default_factory=dict)
    template: str | None = None
    mmproj: str | None = None
    llm: AsyncLLM | None = None
    status: str = "unloaded"
    n_bytes_needed: int = 0
    n_users: int = 0
    last_used: float = 0.0
    loaded_at: float = 0.0
    progress: LoadProgress | None = None
    load_s: float = 0.0
    keep_alive_s: float | None = None
    slots: SlotTable = field(default_factory=SlotTable)
    loading: asyncio.Task[AsyncLLM] | None = None
    timer: asyncio.TimerHandle | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of memory that it needs at most: files, KV cache, buffers of steps, kept rows; 0 if not loaded."""
        if self.llm is None:
            return 0
        engine = self.llm.engine
        own = engine.model.file.n_bytes + engine.cache.n_bytes + engine.runner.program(None).n_bytes
        return own + self.llm.n_media_bytes

    @property
    def expires_at(self) -> float | None:
        """When it is unloaded, by `time.time`, unless it is used before."""
        return None if self.keep_alive_s is None else self.last_used + self.keep_alive_s


class ModelPool:
    """The models of a server. Used from one event loop.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ParameterError
        If two models have the same name, an alias names no model, or a chat template cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._n_bytes_max = None if settings.memory is None else int(settings.memory * GIB)
        self._by_name: dict[str, Served] = {}
        aliases = [(name, target) for name, _, target in (alias.partition("=") for alias in settings.alias)]
        self.models = [Served(name, source) for name, source in _named(settings.models, aliases)]
        for served in self.models:
            self._add(served.name, served)
        for name, target in aliases:
            served = self._target(target)
            if name != served.name:
                self._add(name, served)
                served.aliases.append(name)
        for given in settings.lora:
            self._add_lora(self.models[0], given)
        for given in settings.mmproj:
            served, path = self._target_of(given)
            if served.mmproj is not None:
                raise ParameterError(f"mmproj={given}: the model {served.name} has one already")
            served.mmproj = path
        for given in settings.chat_template:
            served, path = self._target_of(given)
            if served.template is not None:
                raise ParameterError(f"chat_template={given}: the model {served.name} has one already")
            served.template = read_template(path)
        self._freed = asyncio.Condition()
        self._one_loads = asyncio.Lock()

    def _add(self, name: str, served: Served) -> None:
        if not name or self._by_name.setdefault(name, served) is not served:
            source = served.source
            raise ParameterError(f"models, alias: the name {name!r} is empty or given twice; use alias=NAME={source}")

    def _add_lora(self, served: Served, given: str) -> None:
        name, mark, path = given.partition("=")
        if not mark or not path or name in self._by_name:
            raise ParameterError(f"lora={given}: must be NAME=PATH, with a name that no model has yet")
        self._add(name, served)
        served.loras[name] = path

    def _target(self, target: str) -> Served:
        """Return the model of an alias: that of a name or a source; without one, the first."""
        if not target:
            return self.models[0]
        by_source = {served.source: served for served in self.models}
        served = self._by_name.get(target) or by_source.get(target)
        if served is None:
            raise ParameterError(f"alias: there is no model {target}; there are {', '.join(self._by_name)}")
        return served

    def _target_of(self, given: str) -> tuple[Served, str]:
        """Return the model that a file is given for, and the file; without a model, the first one."""
        target, mark, path = given.rpartition("=")
        by_source = {served.source: served for served in self.models}
        named = self._by_name.get(target) or by_source.get(target)
        return (named, path) if mark and named is not None else (self.models[0], given)

    def find(self, name: str | None) -> Served:
        """Return the model of a name or an alias; without a name, the first one.

        Raises
        ------
        ApiError
            404 if there is none.
        """
        if not name:
            return self.models[0]
        served = self._by_name.get(name) or self._by_name.get(name.removesuffix(":latest"))
        if served is None:
            known = ", ".join(self._by_name)
            text = f"the model {name[:200]!r} does not exist; there are {known}"
            raise ApiError(404, text, "model_not_found", "model")
        return served

    @asynccontextmanager
    async def use(self, name: str | None, is_patient: bool = False) -> AsyncIterator[AsyncLLM]:
        """Load a model unless it is loaded, and keep it so in this context.

        Parameters
        ----------
        name : str or None
            See `find`.
        is_patient : bool
            Wait for it as long as it takes, such as a download, and not only for the time of a request.

        Raises
        ------
        ApiError
            404 if there is none of this name, 503 if it cannot be loaded, or not in time.
        """
        served = self.find(name)
        served.n_users += 1  # before it is loaded, so that it is not unloaded at once
        try:
            yield await self._loaded(served, None if is_patient else self._settings.timeout)
        finally:
            served.n_users -= 1
            await self._after_use(served)

    async def _loaded(self, served: Served, timeout_s: float | None) -> AsyncLLM:
        served.last_used = time.time()
        if served.timer is not None:
            served.timer.cancel()
        if served.llm is not None and served.status == "loaded":
            return served.llm
        if served.loading is None or served.loading.done():
            served.loading = asyncio.create_task(self._load(served))
            # If all waiting requests have ended, this retrieves its exception.
            served.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        # All who wait for it share it, and it goes on if one does not.
        loading = served.loading
        await asyncio.wait({loading}, timeout=timeout_s)
        if loading.cancelled():
            raise not_ready(is_closing=True)
        if not loading.done():
            raise self._too_late(served)
        return loading.result()

    def _too_late(self, served: Served) -> ApiError:
        text = f"the model {served.name} could not be loaded within {self._settings.timeout:g} s; see --timeout"
        return ApiError(503, text, "timeout")

    async def _load(self, served: Served) -> AsyncLLM:
        async with self._one_loads:  # of two, each would wait until the other is unused
            progress = served.progress = LoadProgress(served.name)
            served.status = "loading"
            _log.info("loading %s", served.name)
            begin = time.perf_counter()
            try:
                llm = await self._load_into_room(served, progress)
            except ApiError:
                served.status = "unloaded"
                raise
            except Exception as error:
                served.status = "failed"
                await self._close(served)
                _log.error("%s cannot be loaded: %s", served.name, error)
                raise ApiError(503, f"the model {served.name} cannot be loaded: {error}", "model_not_loaded") from error
            served.status, served.loaded_at, served.load_s = "loaded", time.time(), time.perf_counter() - begin
            _log.info(
                "loaded %s in %.1f s: ISA level %s, %d threads, at most %.2f GiB of memory", served.name,
                served.load_s, table.current(), llm.engine.runner.n_threads, served.n_bytes / GIB,
            )  # fmt: skip
            return llm

    async def _load_into_room(self, served: Served, progress: LoadProgress) -> AsyncLLM:
        """Load a model when there is room for it; if it needs more than was known, make that room and load it again."""
        files = file_bytes(served.source) + (file_bytes(served.mmproj) if served.mmproj is not None else 0)
        served.n_bytes_needed = max(served.n_bytes_needed, files)
        while True:
            await self._make_room(served)
            params = {**self._settings.engine, "mmproj": served.mmproj}
            llm = served.llm = await load_aside(served.source, params, progress, served.template, served.loras)
            served.n_bytes_needed = served.n_bytes
            self._check_size(served)
            if await self._unload_others(served):
                return llm
            await self._close(served)

    def _check_size(self, wanted: Served) -> None:
        most = self._n_bytes_max
        if most is not None and wanted.n_bytes_needed > most:
            raise ParameterError(
                f"it needs {wanted.n_bytes_needed / GIB:.2f} GiB, but memory={most / GIB:.2f}; use less n_ctx or n_seqs"
            )

    async def _make_room(self, wanted: Served) -> None:
        """Wait until a model fits into the memory beside the others that are in use; unload those that are not.

        Raises
        ------
        ParameterError
            If it never fits.
        ApiError
            503 if no request waits for it, or the time limit of a request has passed.
        """
        self._check_size(wanted)
        ends = time.monotonic() + self._settings.timeout
        async with self._freed:
            while wanted.n_users and not await self._unload_others(wanted):
                try:
                    await asyncio.wait_for(self._freed.wait(), ends - time.monotonic())
                except asyncio.TimeoutError:
                    raise self._too_late(wanted) from None
        if not wanted.n_users:
            raise self._too_late(wanted)

    async def _unload_others(self, wanted: Served) -> bool:
        """Unload idle models, the least recently used first, until this one fits; return whether it fits."""
        others = [served for served in self.models if served is not wanted]
        most = self._n_bytes_max
        while most is not None and sum(served.n_bytes for served in others) + wanted.n_bytes_needed > most:
            idle = [served for served in others if served.llm is not None and not served.n_users]
            if not idle:
                return False
            await self._close(min(idle, key=lambda served: served.last_used))
        return True

    async def _after_use(self, served: Served) -> None:
        served.last_used = time.time()
        if not served.n_users and served.keep_alive_s is not None and served.llm is not None:
            if served.keep_alive_s <= 0:
                served.keep_alive_s = None  # asked for by one request; the next one loads it to stay
                await self._close(served)
            else:
                loop = asyncio.get_running_loop()
                served.timer = loop.call_later(served.keep_alive_s, lambda: loop.create_task(self._expire(served)))
        async with self._freed:
            self._freed.notify_all()

    async def _expire(self, served: Served) -> None:
        if not served.n_users and served.status == "loaded":
            await self._close(served)

    async def _close(self, served: Served) -> None:
        """Unload an idle model."""
        llm, served.llm = served.llm, None
        if llm is not None:
            served.status = "unloaded" if served.status == "loaded" else served.status
            await llm.close()
            _log.info("unloaded %s", served.name)

    async def close(self) -> None:
        """Unload all models; requests that are not done fail."""
        for served in self.models:
            if served.timer is not None:
                served.timer.cancel()
            if served.loading is not None:
                served.loading.cancel()
                await asyncio.wait({served.loading})
            await self._close(served)


def _named(sources: list[str], aliases: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return names and sources; of files with the same stem, those have their alias for a name that are given one."""
    names = [_name(source) for source in sources]
    own = {target: alias for alias, target in reversed(aliases)}
    return [
        (own.get(source, name) if names.count(name) > 1 else name, source)
        for name, source in zip(names, sources, strict=True)
    ]


def _name(source: str) -> str:
    """Return a model's name for clients, which does not reveal folders."""
    return Path(source).stem if source.endswith(".gguf") and not source.startswith("hf:") else source
