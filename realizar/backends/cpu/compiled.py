"""CompiledPlan: a bound plan that runs one step after another, and what it holds a batch against."""

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
"""Where rows lie in the arena: offset in bytes of the first, floats from row to row."""


@dataclass(frozen=True)
class Limits:
    """How many of each thing that a batch names by number there are.

    n_positions : rows of the table of learned positions.
    n_ctx : rows of a sequence for which there are relative position biases.
    """

    n_vocab: int
    n_positions: int
    n_ctx: int
    n_slots: int
    n_blocks: tuple[int, ...]


def _within(name: str, ids: npt.NDArray[np.int32], n: int) -> None:
    # As unsigned numbers negative ones are the largest: one look is enough.
    if ids.size and np.maximum.reduce(ids.view(np.uint32), axis=None) >= n:
        raise ParameterError(f"Batch.{name}: ids must be in [0, {n}); found {ids.min()} to {ids.max()}")


class CompiledPlan:
    """A plan that runs: `run(batch)` computes one step.

    Attributes
    ----------
    plan : Plan
    n_bytes : int
        Size of the arena that holds the values of a step; pages are touched as far as steps reach.
    """

    def __init__(
        self, plan: Plan, steps: Sequence[Program | NumpyOp], arena: npt.NDArray[np.uint8], places: Mapping[str, Rows],
        overrides: Mapping[str, Rows], limits: Limits,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.n_bytes = arena.nbytes
        self._steps = tuple(steps)
        self._arena = arena
        self._places = places
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
        """Computes one step.

        Parameters
        ----------
        batch : Batch
            As `Batch.check` wants it.
        outputs : iterable of str | None
            Which of the plan's outputs to return; all by default.
        overrides : dict of float32 [n, ...] | None
            One row for each token of the batch, for every value that the plan takes from the caller.

        Returns
        -------
        dict of float32 [m, ...]
            One row for each of `batch.outputs`; views that hold until the next run.

        Raises
        ------
        ParameterError
            If the batch asks for what no kernel does yet, or names a token, block or state slot that does not exist; if
            an override that the plan needs is missing.
        RealizarError
            If the system lets no worker threads start.
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
                             batch.outputs, batch.block_tables, batch.encoder_lengths, batch.embeddings,
                             batch.embedding_of(), batch.reach())  # fmt: skip
        except OSError as error:
            raise RealizarError(f"{error}; ask for fewer n_threads") from error
        names = self._places if outputs is None else outputs
        return {name: self._output(name, len(batch.outputs)) for name in names}

    def _check(self, batch: Batch) -> None:
        """What the kernels rely on: every id of the batch names something."""
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
        if self._reads_encoder and batch.encoder_lengths is None:
            raise ParameterError(
                "Batch.encoder_lengths: this program attends to an encoder input; say how long those are"
            )
        if self._is_whole and batch.seq_past.any():
            raise ParameterError("Batch.seq_past: this program remembers nothing; a step must hold whole texts")
        if len(batch.block_tables) != len(self._limits.n_blocks):
            groups = len(self._limits.n_blocks)
            raise ParameterError(f"Batch.block_tables: {groups} cache groups, {len(batch.block_tables)} tables")
        for group, (table, n) in enumerate(zip(batch.block_tables, self._limits.n_blocks, strict=True)):
            _within(f"block_tables[{group}]", table, n)
        self._check_widths(batch)

    def _check_parts(self, batch: Batch) -> None:
        """Rows that are not tokens seen by tokens before them: each is where it says, and this program takes it."""
        batch.check()
        if batch.adapters is not None and batch.adapters.any():
            raise ParameterError(f"Batch.adapters: {batch.adapters.max()}; no backend has low-rank adapters yet, so 0")
        if batch.embeddings is None:
            return
        if "embeddings" not in self.plan.inputs:
            inputs = ", ".join(self.plan.inputs)
            raise ParameterError(f"Batch.embeddings: this program takes none; what it reads of a step are its {inputs}")
        for op in self.plan.ops:
            if "embeddings" in op.spec.reads(op.attrs):
                (n_embd,), found = self.plan.shapes[op.outputs[0]], batch.embeddings.shape[1]
                if found != n_embd:
                    raise ParameterError(f"Batch.embeddings: rows of {found} numbers; this program takes {n_embd}")

    def _check_widths(self, batch: Batch) -> None:
        """Every token that an op stores or looks at has a block: the sequence's own, or that of its encoder input."""
        start, lengths, n_ctx = batch.seq_start, batch.encoder_lengths, self._limits.n_ctx
        own = np.subtract(start[1:], start[:-1], dtype=np.int64) + batch.seq_past
        shortest, longest = np.minimum.reduce(own), np.maximum.reduce(own)
        if longest > n_ctx:
            raise ParameterError(f"Batch.seq_past: a sequence of {longest} rows; there are biases for {n_ctx}")
        for group, of_encoder in self._tables:
            least, n, width = shortest, longest, batch.block_tables[group].shape[1]
            if of_encoder and lengths is not None:
                least, n = lengths.min(), lengths.max()
            if least < 1:
                raise ParameterError(
                    f"Batch.encoder_lengths: an encoder input of {least} tokens; at least one is needed"
                )
            if width * BLOCK < n:
                raise ParameterError(f"Batch.block_tables[{group}]: {width} blocks of {BLOCK} for a text of {n} tokens")

    def _write_overrides(self, n: int, overrides: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Write the overrides where the ops of the plan read them."""
        for name, row_shape in self._override_shapes.items():
            shape = (n, *row_shape)
            if name not in overrides or overrides[name].shape != shape:
                found = f"shape {overrides[name].shape}" if name in overrides else "nothing"
                raise ParameterError(f"overrides: {name} of shape {shape} is needed, {found} is there")
            offset, ld = self._overrides[name]
            self._block(offset, n, ld)[...] = overrides[name].reshape(n, -1)

    def _output(self, name: str, m: int) -> npt.NDArray[np.float32]:
        offset, ld = self._places[name]
        shape = self._shapes[name]
        n = prod(shape)
        return self._block(offset, m, ld)[:, :n].reshape(m, *shape)

    def _block(self, offset: int, m: int, ld: int) -> npt.NDArray[np.float32]:
        return self._arena[offset : offset + m * ld * 4].view(np.float32).reshape(m, ld)
