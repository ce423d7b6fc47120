"""Answers the lines of a batch, many at once, and counts what was done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from realizar.cli.batch_files import InvalidLine, Request
from realizar.server.in_process import InProcess

if TYPE_CHECKING:
    from realizar.cli.batch_files import Results
    from realizar.server.settings import Settings

IN_FLIGHT = 64
"""Requests that are answered at once; the engine computes as many of them together as its KV cache has room for."""
Line = Request | InvalidLine


class BatchRun:
    """One run of a batch.

    Parameters
    ----------
    settings : Settings
    results : Results

    Attributes
    ----------
    advance : callable
        Called when a line is done.
    n_answered, n_failed, n_earlier : int
        Requests answered now; lines that failed, now or earlier; results of earlier runs.
    n_tokens : int
        Tokens of the prompts and completions of now.
    """

    def __init__(self, settings: Settings, results: Results) -> None:
        self._settings = settings
        self._results = results
        self.advance: Callable[[], None] = lambda: None
        self._begin = time.perf_counter()
        self.n_answered = self.n_failed = self.n_earlier = self.n_tokens = 0

    async def run(self, lines: Iterator[Line]) -> None:
        """Answer all lines that have no result yet. The model is loaded when the first of them has come.

        Raises
        ------
        RealizarError
            If the model cannot be loaded.
        OSError
            If a line cannot be read, or a result cannot be written.
        """
        reader = _Reader(lines)
        first = await self._next(reader)
        if first is None:
            return
        async with InProcess(self._settings) as server:
            self._begin = time.perf_counter()
            firsts = [first, *[None] * (IN_FLIGHT - 1)]
            workers = [asyncio.create_task(self._work(server, reader, each)) for each in firsts]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)

    async def _next(self, reader: _Reader) -> Request | None:
        """Return the next request that has no result, and settle what comes before it; None at the end."""
        while (line := await reader.get()) is not None:
            earlier = self._results.earlier(line)
            if earlier is None and isinstance(line, Request):
                return line
            if isinstance(line, InvalidLine) and earlier is None:
                self._results.add_invalid(line)
            self.n_earlier += earlier is not None
            self.n_failed += not earlier
            self.advance()
        return None

    async def _work(self, server: InProcess, reader: _Reader, request: Request | None) -> None:
        """Answer a request, if one is given, and then one after the other."""
        while request := request or await self._next(reader):
            status, request_id, body = await server.post(request.url, request.body)
            self._results.add(request.custom_id, status, request_id, body)
            self.n_answered += status == 200
            self.n_failed += status != 200
            self.n_tokens += (body.get("usage") or {}).get("total_tokens", 0)
            self.advance()
            request = None

    @property
    def summary(self) -> str:
        """What was done, and how fast."""
        parts = [f"{self.n_answered} answered"]
        parts += [f"{self.n_earlier} had results"] if self.n_earlier else []
        parts += [f"{self.n_failed} failed"] if self.n_failed else []
        seconds = time.perf_counter() - self._begin
        rate = f"; {self.n_tokens} tokens, {self.n_tokens / seconds:.1f} tok/s" if self.n_tokens else ""
        return ", ".join(parts) + rate


class _Reader:
    """Reads lines in a thread, since they may come slowly; a daemon thread, so that an interrupt does not wait for it.

    Parameters
    ----------
    lines : iterator
        At most `IN_FLIGHT` lines are read ahead.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[Line | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(IN_FLIGHT)
        threading.Thread(target=self._work, name="realizar-batch", daemon=True).start()

    async def get(self) -> Line | None:
        """Return the next line, None at the end; raises what reading raised."""
        line = await self._read.get()
        if line is None or isinstance(line, Exception):
            self._read.put_nowait(line)  # for others who ask
        else:
            self._room.release()
        if isinstance(line, Exception):
            raise line
        return line

    def _work(self) -> None:
        end: Exception | None = None
        with suppress(RuntimeError):  # the loop was closed
            try:
                for line in self._lines:
                    self._room.acquire()
                    self._put(line)
            except OSError as error:
                end = error
            self._put(end)

    def _put(self, item: Line | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._read.put_nowait, item)
