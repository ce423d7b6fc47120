"""BatchChecks: holds a batch against the plan that is to run it and against the sizes of its tables and storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realizar._kernels.batch_ids import first_out_of_range, sequence_lengths
from realizar.errors import ParameterError
from realizar.runtime.batch import BLOCK, Batch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor

    F32 = npt.NDArray[np.float32]

UNLIMITED = 2**31


@dataclass(frozen=True)
class Limits:
    """How many of each thing that a batch names by number there are.

    Attributes
    ----------
    n_vocab : int
    n_positions : int
        Rows of the table of learned positions.
    n_ctx : int
        Rows of a sequence for which there are relative position biases.
    n_slots : int
    n_blocks : tuple of int
        Blocks of each cache group.
    """

    n_vocab: int
    n_positions: int
    n_ctx: int
    n_slots: int
    n_blocks: tuple[int, ...]


def limits_of(
    plan: Plan, tensors: Mapping[str, Tensor], n_ctx: int, n_slots: int, n_blocks: tuple[int, ...],
    n_biases: int = UNLIMITED,
) -> Limits:  # fmt: skip
    """Return the limits of a plan over these weights.

    Parameters
    ----------
    plan : Plan
    tensors : dict of str to Tensor
        By GGUF name.
    n_ctx : int
        Tokens of a sequence at most.
    n_slots : int
        State slots of the storage; of no account if the plan has no states.
    n_blocks : tuple of int
        Blocks of each cache group of the storage.
    n_biases : int
        Rows of a sequence for which the backend has relative position biases.

    Raises
    ------
    ParameterError
        If sequences may be longer than a table of learned positions.
    """
    n_rows = {"token": UNLIMITED, "id": UNLIMITED, "position": UNLIMITED, "type": UNLIMITED}
    for op in plan.ops:
        if op.spec.is_lookup:
            table, by = tensors[op.weights[0]], op.attrs["by"]
            n_rows[by] = min(n_rows[by], table.shape[0])
            if by == "position" and n_ctx > table.shape[0]:
                raise ParameterError(f"n_ctx={n_ctx}: {table.name} has only {table.shape[0]} positions; ask for less")
    n_vocab = min(n_rows["token"], n_rows["id"])
    return Limits(n_vocab, n_rows["position"], n_biases, n_slots if plan.states else UNLIMITED, n_blocks)


class BatchChecks:
    """What every program relies on: each id of a batch names something, and each array is as long as others say.

    Parameters
    ----------
    plan : Plan
    limits : Limits
    """

    def __init__(self, plan: Plan, limits: Limits) -> None:
        self._plan = plan
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

    def check(self, batch: Batch) -> None:
        """Check a batch, but for the shapes of its arrays, which `Batch.check` looks at.

        Raises
        ------
        ParameterError
            If it names a token, position, block, state slot or row that does not exist, has rows that the program does
            not take, or lacks what the program reads.
        """
        if batch.embeddings is not None or batch.spans is not None or batch.adapters is not None:
            self._check_parts(batch)
        if len(batch.positions) not in (1, self._n_axes):
            raise ParameterError(f"Batch.positions: {len(batch.positions)} axes; this program has {self._n_axes}")
        if self._reads_encoder and batch.seq_source is None:
            raise ParameterError("Batch.seq_source: this program attends to a source; say how long those are")
        if self._is_whole and batch.seq_past.any():
            raise ParameterError("Batch.seq_past: this program remembers nothing; a step must hold whole texts")
        if len(batch.block_tables) != len(self._limits.n_blocks):
            groups = len(self._limits.n_blocks)
            raise ParameterError(f"Batch.block_tables: {groups} cache groups, {len(batch.block_tables)} tables")
        self._check_ids(batch)
        self._check_widths(batch)

    def overrides(self, n: int, given: Mapping[str, F32]) -> dict[str, F32]:
        """Return the values, of all that are given, that the plan takes from the caller of a step of n rows.

        Raises
        ------
        ParameterError
            If one is missing or has another shape.
        """
        for name, row_shape in self._override_shapes.items():
            shape = (n, *row_shape)
            if name not in given or given[name].shape != shape:
                found = f"shape {given[name].shape}" if name in given else "nothing"
                raise ParameterError(f"overrides: {name} of shape {shape} is needed, {found} is there")
        return {name: given[name] for name in self._override_shapes}

    def _check_parts(self, batch: Batch) -> None:
        """Rows that are not tokens seen by tokens before them: each is where it says, and this program takes it."""
        batch.check()
        if batch.adapters is not None and batch.adapters.any():
            raise ParameterError(f"Batch.adapters: {batch.adapters.max()}; no backend has low-rank adapters yet, so 0")
        if batch.embeddings is None:
            return
        if "embeddings" not in self._plan.inputs:
            inputs = ", ".join(self._plan.inputs)
            raise ParameterError(f"Batch.embeddings: this program takes none; what it reads of a step are its {inputs}")
        for op in self._plan.ops:
            if "embeddings" in op.spec.reads(op.attrs):
                (n_embd,), found = self._plan.shapes[op.outputs[0]], batch.embeddings.shape[1]
                if found != n_embd:
                    raise ParameterError(f"Batch.embeddings: rows of {found} numbers; this program takes {n_embd}")

    def _check_ids(self, batch: Batch) -> None:
        limits = self._limits
        first, *others = batch.positions
        arrays = [batch.tokens, batch.state_slots, batch.outputs, first, *others]
        arrays += [table.reshape(-1) for table in batch.block_tables]
        below = [limits.n_vocab, limits.n_slots, batch.n_tokens, limits.n_positions, *[UNLIMITED] * len(others)]
        below += limits.n_blocks
        at = first_out_of_range(arrays, below)
        if at >= 0:
            tables = [f"block_tables[{group}]" for group in range(len(batch.block_tables))]
            name = ["tokens", "state_slots", "outputs", *["positions"] * len(batch.positions), *tables][at]
            found = f"{arrays[at].min()} to {arrays[at].max()}"
            raise ParameterError(f"Batch.{name}: ids must be in [0, {below[at]}); found {found}")

    def _check_widths(self, batch: Batch) -> None:
        """Every token that an op stores or looks at has a block: the sequence's own, or its source's."""
        source, n_ctx = batch.seq_source, self._limits.n_ctx
        shortest, longest = sequence_lengths(batch.seq_start, batch.seq_past)
        if longest > n_ctx:
            raise ParameterError(f"Batch.seq_past: a sequence of {longest} rows; there are biases for {n_ctx}")
        for group, of_source in self._tables:
            least, n, width = shortest, longest, batch.block_tables[group].shape[1]
            if of_source and source is not None:
                least, n = source.min(), source.max()
            if least < 1:
                raise ParameterError(f"Batch.seq_source: a source of {least} tokens; at least one is needed")
            if width * BLOCK < n:
                raise ParameterError(f"Batch.block_tables[{group}]: {width} blocks of {BLOCK} for a text of {n} tokens")
