"""Runner: builds the Batch of a step and runs the model's programs on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.forks import cached_property
from realizar.runtime.adapters import AdapterTable, control_places, side_ops_for
from realizar.runtime.backend import CompileParams
from realizar.runtime.batch import Batch
from realizar.runtime.logit_rows import LogitRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from realizar.engine.cache.chunk import Chunk, DraftRow
    from realizar.engine.cache.kv_cache import KVCache
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend, Program
    from realizar.runtime.side_ops import SideOps

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
    adapters : AdapterTable
        The sets of adapters that sequences have.
    """

    def __init__(self, model: Model, cache: KVCache, params: EngineParams, backend: Backend) -> None:
        self.model = model
        self.cache = cache
        self.backend = backend
        self.activations = params.activations or model.default_activations
        self.adapters = AdapterTable()
        self._compile_params = CompileParams(cache.n_batch, cache.n_ctx, self.activations)
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._side: SideOps | None = None
        self._numbers = np.arange(cache.n_batch + 1, dtype=np.int32)
        self._no_slots = np.zeros(cache.n_batch, np.int32)
        self._has_cross = any(cache.cross)
        self._versions: list[int] = []
        self._last_tables: tuple[npt.NDArray[np.int32], ...] = ()
        self.program(None)

    @property
    def n_threads(self) -> int:
        """Threads that compute a step, the caller's included."""
        return self.backend.n_threads

    @cached_property
    def control_places(self) -> dict[str, str]:
        """Where control vectors can be added: place -> name of the hidden state."""
        hp = self.model.hp
        return control_places(self.model.graphs[self.model.main], hp.n_layer, hp.n_embd)

    def _side_ops(self, batch: Batch) -> SideOps | None:
        """Return the side ops for a step; programs with others than before are compiled anew."""
        numbers = [] if batch.adapters is None else dict.fromkeys(batch.adapters.tolist())
        found = [each for each in map(self.adapters.get, numbers) if each is not None]
        if not found:
            return None
        side = side_ops_for(found, self.control_places, self._side)
        if side != self._side:
            self._programs = {key: program for key, program in self._programs.items() if key[3] is None}
            self._side = side
        return self._side

    def program(
        self, outputs: Iterable[str] | None, name: str | None = None, overrides: Iterable[str] = (),
        side: SideOps | None = None,
    ) -> Program:  # fmt: skip
        """Return a program, the main one by default, for its own outputs (None) or for the values of these names.

        The caller of a step passes in the values named in `overrides`. Without `side`, it applies no adapters, and
        costs nothing for them.

        Raises
        ------
        GraphError
            If there is no program or no value of such a name.
        """
        name = name or self.model.main
        key = (name, None if outputs is None else tuple(outputs), tuple(overrides), side)
        if key not in self._programs:
            if side is not None and name != self.model.main:  # the places are values of the main program
                side = replace(side, places=frozenset())
            plan = self.model.plan(*key[:3], passes=self.backend.passes, side=side)
            params = replace(self._compile_params, adapters=None if side is None else self.adapters)
            self._programs[key] = self.model.bind(plan, self.backend, self.cache.storage, params)
        return self._programs[key]

    def forget_programs(self) -> None:
        """Drop all programs; each is compiled again when it is next needed."""
        self._programs.clear()

    def batch(self, chunks: Iterable[Chunk | DraftRow]) -> Batch:
        """Return the rows of a step's chunks; their blocks must be reserved."""
        chunks = list(chunks)
        n_seqs = len(chunks)
        past = np.array([chunk.n_past for chunk in chunks], np.int32)
        if {(chunk.n_tokens, chunk.n_outputs) for chunk in chunks} == {(1, 1)}:  # decode only
            start, outputs, positions = self._numbers[: n_seqs + 1], self._numbers[:n_seqs], past
        else:
            counts = np.array([chunk.n_tokens for chunk in chunks])
            start = np.concatenate([[0], counts.cumsum()], dtype=np.int32)
            rows = np.arange(start[-1], dtype=np.int32)
            positions = rows + np.repeat(past - start[:-1], counts)
            wanted = np.repeat(start[1:] - [chunk.n_outputs for chunk in chunks], counts)
            outputs = np.flatnonzero(rows >= wanted).astype(np.int32)
        more: dict[str, Any] = {}
        if any(chunk.seq.content is not None or chunk.adapter for chunk in chunks):
            more = _content(chunks, start, positions, self.model.hp.n_embd)
        slots = self._no_slots[:n_seqs]
        if self.cache.states:
            slots = np.array([chunk.seq.slot or 0 for chunk in chunks], np.int32)
            if any(len(chunk.drafts) for chunk in chunks):
                more["n_drafts"] = np.array([len(chunk.drafts) for chunk in chunks], np.int32)
                more["draft_slots"] = np.array([chunk.seq.draft_slot or 0 for chunk in chunks], np.int32)
        if self._has_cross:
            more["encoder_lengths"] = np.array([len(chunk.seq.encoder_tokens) for chunk in chunks], np.int32)
        return Batch(
            tokens=chunks[0].tokens if n_seqs == 1 else np.concatenate([chunk.tokens for chunk in chunks]),
            seq_start=start,
            seq_past=past,
            block_tables=self._tables(chunks),
            state_slots=slots,
            outputs=outputs,
            **{"positions": positions[None], **more},
        )

    def _tables(self, chunks: list[Chunk | DraftRow]) -> tuple[npt.NDArray[np.int32], ...]:
        """Block tables, one per group; those of the step before where they are the same."""
        versions = [chunk.seq.table_version for chunk in chunks]
        if versions != self._versions:
            self._last_tables = tuple(_table(chunks, group) for group in range(len(self.cache.pools)))
            self._versions = versions
        return self._last_tables

    def output(self, batch: Batch, chunks: Sequence[Chunk], output: str, program: str) -> Any:
        """Compute the step of these chunks, and return one of the values of `run`."""
        own = output in self.model.graphs[program].outputs
        return self.run(batch, None if own else [output], program)[output]

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None, program: str | None = None,
        overrides: Mapping[str, Array] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Make the cache's pending copies, then compute a step.

        What no output depends on is not computed: with only outputs of an early layer, later layers store no keys and
        values of these tokens, and the sequences must not `commit` them.

        Parameters
        ----------
        batch : Batch
            The rows.
        outputs : iterable of str, optional
            Names of the values to return; by default the program's own outputs, "logits" of a decoder.
        program : str, optional
            Which of the model's programs to run; by default the main one.
        overrides : dict of str to float32 [n, ...], optional
            Values that the program does not compute, one row for each row of the batch.

        Returns
        -------
        dict of str to LogitRows or ndarray
            One row for each of `batch.outputs`: "logits" as LogitRows [m, n_vocab], other values as float32 [m, ...].
            Read-only views of the backend's memory, valid until the next run.
        """
        self.cache.flush()
        if batch.deepstack is not None and program in (None, self.model.main):
            return self._run_pictures(batch, outputs, overrides)
        given = {} if overrides is None else {"overrides": overrides}
        chosen = self.program(outputs, program, overrides or (), self._side_ops(batch))
        found: dict[str, Any] = dict(chosen.run(batch, **given))
        for values in found.values():
            values.flags.writeable = False
        if "logits" in found:
            found["logits"] = LogitRows(found["logits"], self.backend.summarize)
        return found

    def _run_pictures(
        self, batch: Batch, outputs: Iterable[str] | None, overrides: Mapping[str, Array] | None
    ) -> dict[str, Any]:
        """Compute a step with rows for deepstack, by the program that reads them; see `run`."""
        ours, theirs = self.model.hidden, self.model.hidden_of("pictures")
        names = None if outputs is None else [theirs if name == ours else name for name in outputs]
        given: dict[str, Any] = {**(overrides or {}), "deepstack": batch.deepstack}
        found = self.run(replace(batch, deepstack=None), names, "pictures", given)
        return {ours if name == theirs else name: values for name, values in found.items()}


def _table(chunks: list[Chunk | DraftRow], group: int) -> npt.NDArray[np.int32]:
    """Tables of one group, one row per sequence; 0 where there is no block, so that every entry is valid."""
    tables = [chunk.seq.tables[group] for chunk in chunks]
    out = np.zeros((len(tables), max(map(len, tables))), np.int32)
    for row, table in zip(out, tables, strict=True):
        row[: len(table)] = table
    return np.maximum(out, 0)


def _content(
    chunks: list[Chunk | DraftRow], start: npt.NDArray[np.int32], positions: npt.NDArray[np.int32], n_embd: int
) -> dict[str, npt.NDArray[Any] | None]:
    """Return the fields of a Batch for rows that are not plain tokens.

    What embeddings have beyond their first n_embd numbers is for deepstack.
    """
    contents = [None if chunk.is_encoder_input else chunk.seq.content for chunk in chunks]
    axes = np.repeat(positions[None], max(1 if own is None else own.n_axes for own in contents), axis=0)
    rows: list[npt.NDArray[np.int32]] = []
    values: list[npt.NDArray[np.float32]] = []
    deepstack: npt.NDArray[np.float32] | None = None
    spans: list[tuple[int, int]] = []
    for chunk, content, before in zip(chunks, contents, start.tolist(), strict=False):
        if content is None:
            continue
        first, end = chunk.n_past, chunk.n_past + chunk.n_tokens
        axes[:, before : before + chunk.n_tokens] = content.positions(first, end)
        spans += [(a - first + before, b - first + before) for a, b in content.spans_between(first, end)]
        if content.embeddings is not None:
            own = content.embeddings.between(first, end)
            rows.append(own.rows + np.int32(before))
            values.append(own.values[:, :n_embd])
            if own.values.shape[1] > n_embd and len(own.rows):
                if deepstack is None:
                    deepstack = np.zeros((start[-1], own.values.shape[1] - n_embd), np.float32)
                deepstack[own.rows + before] = own.values[:, n_embd:]
    has_rows = any(map(len, rows))
    adapters = [chunk.adapter for chunk in chunks]
    return {
        "positions": axes,
        "embeddings": np.concatenate(values) if has_rows else None,
        "embedding_rows": np.concatenate(rows) if has_rows else None,
        "deepstack": deepstack,
        "spans": np.array(spans, np.int32) if spans else None,
        "adapters": np.array(adapters, np.int32) if any(adapters) else None,
    }
