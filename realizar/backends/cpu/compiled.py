"""CompiledPlan: an executable plan, and the checks of its batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from realizar._kernels.plan import Program
from realizar.backends.cpu.numpy_op import NumpyOp
from realizar.errors import ParameterError, RealizarError
from realizar.runtime.batch import BLOCK, Batch
from realizar.runtime.plan import Plan

Rows = tuple[int, int]
"""Rows in the arena: offset of the first in bytes, and distance between rows in floats."""


@dataclass(frozen=True)
class Limits:
    """Upper bounds of the ids in a batch.

    n_positions : number of learned positions.
    n_ctx : number of rows of a sequence for which there are relative position biases.
    """

    n_vocab: int
    n_positions: int
    n_ctx: int
    n_slots: int
    n_blocks: tuple[int, ...]


def _within(name: str, ids: npt.NDArray[np.int32], n: int) -> None:
    # As unsigned integers, negative ids are the largest: one comparison is enough.
    if ids.size and np.maximum.reduce(ids.view(np.uint32), axis=None) >= n:
        raise ParameterError(f"Batch.{name}: ids must be in [0, {n}); found {ids.min()} to {ids.max()}")


class CompiledPlan:
    """An executable plan: `run(batch)` computes one step.

    Attributes
    ----------
    plan : Plan
    n_bytes : int
        Size of the arena for the values of a step; steps with fewer rows touch fewer pages.
    """

    def __init__(
        self, plan: Plan, steps: Sequence[Program | NumpyOp], arena: npt.NDArray[np.uint8], rows: Mapping[str, Rows],
        overrides: Mapping[str, Rows], limits: Limits,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.n_bytes = arena.nbytes
        self._steps = tuple(steps)
        self._arena = arena
        self._rows = rows
        self._overrides = overrides
        self._limits = limits
        self._reads_encoder = "encoder" in plan.inputs
        self._n_axes = plan.n_axes
        self._tables = {
            (plan.cache(op.attrs["cache"])[0], "encoder" in op.spec.reads(op.attrs))
            for op in plan.ops
            if op.attrs.get("cache") is not None
        }
        self._is_whole = plan.whole
        self._override_shapes = {name: plan.shapes[i] for name, i in plan.overrides.items()}
        self._shapes = {name: plan.shapes[i] for name, i in plan.outputs.items()}

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None,
        overrides: Mapping[str, npt.NDArray[np.float32]] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
        """Compute one step.

        Parameters
        ----------
        batch : Batch
            Must satisfy `Batch.check`.
        outputs : iterable of str | None
            Which of the plan's outputs to return; all by default.
        overrides : dict of float32 [n, ...] | None
            One row for each token of the batch, for every override of the plan.

        Returns
        -------
        dict of float32 [m, ...]
            One row for each of `batch.outputs`; views that are valid until the next run.

        Raises
        ------
        ParameterError
            If the batch needs an unsupported feature, has an invalid token, block or state slot, or an override is
            missing.
        RealizarError
            If no worker threads can be started.
        """
        self._check(batch)
        if self._override_shapes:
            self._write_overrides(batch.n_tokens, overrides or {})
        try:
            for step in self._steps:
                if isinstance(step, NumpyOp):
                    step.run(batch)
                else:
                    step.run(batch.tokens, batch.positions, batch.seq_start, batch.seq_past, batch.state_slots,
                             batch.outputs, batch.block_tables, batch.seq_source, batch.embeddings,
                             batch.embedding_of(), batch.reach())  # fmt: skip
        except OSError as error:
            raise RealizarError(f"{error}; use a smaller n_threads") from error
        names = self._rows if outputs is None else outputs
        return {name: self._output(name, len(batch.outputs)) for name in names}

    def _check(self, batch: Batch) -> None:
        """Check the batch against the limits, on which the kernels rely."""
        if batch.embeddings is not None or batch.spans is not None or batch.adapters is not None:
            self._check_parts(batch)
        if len(batch.positions) not in (1, self._n_axes):
            raise ParameterError(f"Batch.positions: {len(batch.positions)} axes; this program has {self._n_axes}")
        _within("tokens", batch.tokens, self._limits.n_vocab)
        _within("positions", batch.positions[:1], self._limits.n_positions)
        if len(batch.positions) > 1:
            _within("positions", batch.positions[1:], 2**31)
        _within("state_slots", batch.state_slots, self._limits.n_slots)
        _within("outputs", batch.outputs, batch.n_tokens)
        if self._reads_encoder and batch.seq_source is None:
            raise ParameterError(
                "Batch.seq_source: this program has cross-attention; the lengths of the encoder inputs are needed"
            )
        if self._is_whole and batch.seq_past.any():
            raise ParameterError("Batch.seq_past: this program has no KV cache; each step must contain whole sequences")
        if len(batch.block_tables) != len(self._limits.n_blocks):
            groups = len(self._limits.n_blocks)
            raise ParameterError(f"Batch.block_tables: {groups} cache groups, {len(batch.block_tables)} tables")
        for group, (table, n) in enumerate(zip(batch.block_tables, self._limits.n_blocks, strict=True)):
            _within(f"block_tables[{group}]", table, n)
        self._check_widths(batch)

    def _check_parts(self, batch: Batch) -> None:
        """Check adapters, embeddings and spans: whether this program supports them, and their shapes."""
        batch.check()
        if batch.adapters is not None and batch.adapters.any():
            raise ParameterError(
                f"Batch.adapters: {batch.adapters.max()}; low-rank adapters are not supported yet, use 0"
            )
        if batch.embeddings is None:
            return
        if "embeddings" not in self.plan.inputs:
            inputs = ", ".join(self.plan.inputs)
            raise ParameterError(f"Batch.embeddings: this program does not read them; it reads {inputs}")
        for op in self.plan.ops:
            if "embeddings" in op.spec.reads(op.attrs):
                (n_embd,), found = self.plan.shapes[op.outputs[0]], batch.embeddings.shape[1]
                if found != n_embd:
                    raise ParameterError(f"Batch.embeddings: rows of {found} numbers; this program needs {n_embd}")

    def _check_widths(self, batch: Batch) -> None:
        """Check that every token that an op stores or reads has a block, also those of encoder inputs."""
        start, source, n_ctx = batch.seq_start, batch.seq_source, self._limits.n_ctx
        own = np.subtract(start[1:], start[:-1], dtype=np.int64) + batch.seq_past
        shortest, longest = np.minimum.reduce(own), np.maximum.reduce(own)
        if longest > n_ctx:
            raise ParameterError(
                f"Batch.seq_past: a sequence of {longest} rows; relative position biases exist for {n_ctx}"
            )
        for group, of_source in self._tables:
            least, n, width = shortest, longest, batch.block_tables[group].shape[1]
            if of_source and source is not None:
                least, n = source.min(), source.max()
            if least < 1:
                raise ParameterError(f"Batch.seq_source: an encoder input of {least} tokens; at least one is needed")
            if width * BLOCK < n:
                raise ParameterError(
                    f"Batch.block_tables[{group}]: {width} blocks of {BLOCK} for a sequence of {n} tokens"
                )

    def _write_overrides(self, n: int, overrides: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Write the overrides to the rows that the plan's ops read."""
        for name, row_shape in self._override_shapes.items():
            shape = (n, *row_shape)
            if name not in overrides or overrides[name].shape != shape:
                found = f"shape {overrides[name].shape}" if name in overrides else "nothing"
                raise ParameterError(f"overrides: {name} must have shape {shape}, found {found}")
            offset, ld = self._overrides[name]
            self._block(offset, n, ld)[...] = overrides[name].reshape(n, -1)

    def _output(self, name: str, m: int) -> npt.NDArray[np.float32]:
        offset, ld = self._rows[name]
        shape = self._shapes[name]
        n = prod(shape)
        return self._block(offset, m, ld)[:, :n].reshape(m, *shape)

    def _block(self, offset: int, m: int, ld: int) -> npt.NDArray[np.float32]:
        return self._arena[offset : offset + m * ld * 4].view(np.float32).reshape(m, ld)
