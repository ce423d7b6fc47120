"""Runner: makes a step's arrays and runs the model on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.engine.sequence import Chunk
from realizar.runtime.backend import CompileParams
from realizar.runtime.batch import Batch
from realizar.runtime.logit_rows import LogitRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from realizar.engine.kv_cache import KVCache
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend, Program

    Array = npt.NDArray[Any]


class Runner:
    """Runs a model's programs over sequences in one cache.

    The model's main program is bound at once with its own outputs; other
    programs, and those that also give other values ("taps"), are bound when they are first asked for, to the same
    backend and the same cache.

    Parameters
    ----------
    model : Model
    cache : KVCache
    params : EngineParams
        n_threads, activations (by default the model's own) and kv_type.
    backend : Backend
        Computes the steps; it has made the cache's storage.

    Attributes
    ----------
    activations : {"int8", "int16", "f32"}
        What the inputs of products with quantized weights are rounded to.
    backend : Backend
    """

    def __init__(self, model: Model, cache: KVCache, params: EngineParams, backend: Backend) -> None:
        self.model = model
        self.cache = cache
        self.backend = backend
        self.activations = params.activations or model.default_activations
        self._compile_params = CompileParams(cache.n_batch, cache.n_ctx, self.activations)
        self._programs: dict[tuple[str, tuple[str, ...] | None], Program] = {}
        self.program(None)

    @property
    def n_threads(self) -> int:
        """Threads that compute a step, the caller's included."""
        return self.backend.n_threads

    def program(self, outputs: Iterable[str] | None, name: str | None = None) -> Program:
        """Return a program, the main one by default, for its own outputs (None) or for the values of these names.

        Raises
        ------
        GraphError
            If there is no program or no value of such a name.
        """
        name = name or self.model.main
        key = (name, None if outputs is None else tuple(outputs))
        if key not in self._programs:
            plan = self.model.plan(*key)
            self._programs[key] = self.model.bind(plan, self.backend, self.cache.storage, self._compile_params)
        return self._programs[key]

    def forget_programs(self) -> None:
        """Bind every program anew when it is next asked for."""
        self._programs.clear()

    def batch(self, chunks: Iterable[Chunk]) -> Batch:
        """Lay the chunks of a step out in rows; their blocks must have been reserved."""
        chunks = list(chunks)
        counts = np.array([chunk.n_tokens for chunk in chunks])
        past = np.array([chunk.n_past for chunk in chunks])
        start = np.concatenate([[0], counts.cumsum()])
        rows = np.arange(start[-1])
        positions = rows + np.repeat(past - start[:-1], counts)
        wanted = np.repeat(start[1:] - [chunk.n_outputs for chunk in chunks], counts)
        return Batch(
            tokens=np.concatenate([chunk.tokens for chunk in chunks]),
            positions=positions.astype(np.int32)[None],
            seq_start=start.astype(np.int32),
            seq_past=past.astype(np.int32),
            block_tables=tuple(self._table(chunks, group) for group in range(len(self.cache.pools))),
            state_slots=np.array([chunk.seq.slot or 0 for chunk in chunks], np.int32),
            outputs=np.flatnonzero(rows >= wanted).astype(np.int32),
            seq_source=np.array([len(chunk.seq.source) for chunk in chunks], np.int32)
            if any(self.cache.cross)
            else None,
        )

    @staticmethod
    def _table(chunks: list[Chunk], group: int) -> npt.NDArray[np.int32]:
        """Tables of one group, one row per sequence; 0 where there is no block, so that no entry leads astray."""
        tables = [chunk.seq.tables[group] for chunk in chunks]
        out = np.zeros((len(tables), max(map(len, tables))), np.int32)
        for row, table in zip(out, tables, strict=True):
            row[: len(table)] = table
        return np.maximum(out, 0)

    def run(self, batch: Batch, outputs: Iterable[str] | None = None, program: str | None = None) -> dict[str, Any]:
        """Make the cache's pending copies, then compute a step.

        What no output depends on is not computed: with the outputs of an early layer alone, the layers behind it
        remember nothing of these tokens, and the sequences must not `commit` them.

        Parameters
        ----------
        batch : Batch
            The rows.
        outputs : iterable of str, optional
            Names of the values to return; by default the program's own outputs, "logits" of a decoder.
        program : str, optional
            Which of the model's programs to run; by default the main one.

        Returns
        -------
        dict of str to LogitRows or ndarray
            One row for each of `batch.outputs`: "logits" as LogitRows [m, n_vocab], other values as float32 [m, ...].
            Read-only views of the backend's memory, valid until the next run.
        """
        self.cache.flush()
        found: dict[str, Any] = dict(self.program(outputs, program).run(batch))
        for values in found.values():
            values.flags.writeable = False
        if "logits" in found:
            found["logits"] = LogitRows(found["logits"], self.backend.summarize)
        return found
