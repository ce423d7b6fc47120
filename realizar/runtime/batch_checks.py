"""BatchChecks: validates a batch against its plan and the sizes of tables and storage."""

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

    from realizar.runtime.adapters import AdapterTable
    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor

    F32 = npt.NDArray[np.float32]

UNLIMITED = 2**31


@dataclass(frozen=True)
class Limits:
    """The limits of the ids in a batch.

    Attributes
    ----------
    n_vocab : int
    n_positions : int
        Rows of the tables of positions.
    n_ctx : int
        Rows of a sequence for which there are relative position biases, or room for scores of an indexer.
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
    n_keys: int = UNLIMITED, n_positions: int = UNLIMITED,
) -> Limits:  # fmt: skip
    """Return the limits of a plan over these weights.

    Parameters
    ----------
    plan : Plan
    tensors : dict of str to Tensor
        By GGUF name.
    n_ctx : int
        Maximum number of tokens of a sequence.
    n_slots : int
        State slots of the storage; unused if the plan has no states.
    n_blocks : tuple of int
        Blocks of each cache group of the storage.
    n_keys : int
        Rows of a sequence for which the backend has relative position biases, or room for scores of an indexer.
    n_positions : int
        Positions for which the backend has computed tables.

    Raises
    ------
    ParameterError
        If sequences may be longer than a table of learned positions.
    """
    n_rows = {"token": UNLIMITED, "id": UNLIMITED, "position": n_positions, "type": UNLIMITED}
    for op in plan.ops:
        if op.spec.is_lookup:
            table, by = tensors[op.weights[0]], op.attrs["by"]
            n_rows[by] = min(n_rows[by], table.shape[0])
            if by == "position" and n_ctx > table.shape[0]:
                raise ParameterError(f"n_ctx={n_ctx}: {table.name} has only {table.shape[0]} positions; ask for less")
    n_vocab = min(n_rows["token"], n_rows["id"])
    return Limits(n_vocab, n_rows["position"], n_keys, n_slots if plan.states else UNLIMITED, n_blocks)


class BatchChecks:
    """Checks that every id of a batch is valid and that the lengths of its arrays are consistent.

    Parameters
    ----------
    plan : Plan
    limits : Limits
    adapters : AdapterTable, optional
        Those that sequences may have.
    """

    def __init__(self, plan: Plan, limits: Limits, adapters: AdapterTable | None = None) -> None:
        self._plan = plan
        self._adapters = adapters
        self._max_rank = min((op.attrs["max_rank"] for op in plan.ops if op.attrs.get("max_rank")), default=UNLIMITED)
        self._limits = limits
        self._reads_encoder = "encoder" in plan.inputs
        self._n_axes = plan.n_axes
        self._tables = {
            (plan.cache(op.attrs["cache"])[0], "encoder" in op.spec.reads(op.attrs))
            for op in plan.ops
            if op.attrs.get("cache") is not None
        }
        self._is_whole = plan.whole
        self._overrides = {name: (plan.shapes[i], plan.views[i].m_rows) for name, i in plan.overrides.items()}

    def check(self, batch: Batch) -> None:
        """Check a batch, except for the shapes of its arrays, which `Batch.check` checks.

        Raises
        ------
        ParameterError
            If it names a token, position, block, state slot or row that does not exist, has rows that the program does
            not accept, or lacks an input that the program reads.
        """
        if batch.embeddings is not None or batch.spans is not None or batch.adapters is not None:
            self._check_parts(batch)
        if len(batch.positions) not in (1, self._n_axes):
            raise ParameterError(f"Batch.positions: {len(batch.positions)} axes; this program has {self._n_axes}")
        if self._reads_encoder and batch.encoder_lengths is None:
            raise ParameterError(
                "Batch.encoder_lengths: this program has cross-attention; the lengths of the encoder inputs are needed"
            )
        if self._is_whole and batch.seq_past.any():
            raise ParameterError("Batch.seq_past: this program has no KV cache; each step must contain whole sequences")
        if len(batch.block_tables) != len(self._limits.n_blocks):
            groups = len(self._limits.n_blocks)
            raise ParameterError(f"Batch.block_tables: {groups} cache groups, {len(batch.block_tables)} tables")
        self._check_ids(batch)
        self._check_widths(batch)

    def overrides(self, batch: Batch, given: Mapping[str, F32]) -> dict[str, F32]:
        """Return those of the given values that the plan overrides, for a step.

        Raises
        ------
        ParameterError
            If one is missing or has another shape.
        """
        for name, (row_shape, of_outputs) in self._overrides.items():
            shape = (len(batch.outputs) if of_outputs else batch.n_tokens, *row_shape)
            if name not in given or given[name].shape != shape:
                found = f"shape {given[name].shape}" if name in given else "nothing"
                raise ParameterError(f"overrides: {name} must have shape {shape}, found {found}")
        return {name: given[name] for name in self._overrides}

    def _check_parts(self, batch: Batch) -> None:
        """Check adapters, embeddings and spans: whether this program supports them, and their shapes."""
        batch.check()
        if batch.adapters is not None:
            self._check_adapters(batch.adapters)
        if batch.embeddings is None:
            return
        if "embeddings" not in self._plan.inputs:
            inputs = ", ".join(self._plan.inputs)
            raise ParameterError(f"Batch.embeddings: this program does not read them; it reads {inputs}")
        for op in self._plan.ops:
            if "embeddings" in op.spec.reads(op.attrs):
                (n_embd,), found = self._plan.shapes[op.outputs[0]], batch.embeddings.shape[1]
                if found != n_embd:
                    raise ParameterError(f"Batch.embeddings: rows of {found} numbers; this program needs {n_embd}")

    def _check_adapters(self, numbers: npt.NDArray[np.int32]) -> None:
        """Check that there is a set of adapters for every number but 0."""
        for number in numbers[numbers > 0].tolist():
            if self._adapters is None:
                raise ParameterError(f"Batch.adapters: {number}; this program was compiled without adapters, use 0")
            found = self._adapters.get(number)
            if found is None:
                raise ParameterError(f"Batch.adapters: there is no set of adapters with number {number}")
            if found.rank > self._max_rank:
                raise ParameterError(
                    f"Batch.adapters: rank {found.rank}; this program was compiled for {self._max_rank}"
                )

    def _check_ids(self, batch: Batch) -> None:
        limits = self._limits
        first, *others = batch.positions
        arrays = [batch.tokens, batch.state_slots, batch.outputs, first, *others]
        arrays += [table.reshape(-1) for table in batch.block_tables]
        below = [limits.n_vocab, limits.n_slots, batch.n_tokens, limits.n_positions, *[UNLIMITED] * len(others)]
        below += limits.n_blocks
        if batch.draft_slots is not None:
            arrays.append(batch.draft_slots)
            below.append(limits.n_slots)
        at = first_out_of_range(arrays, below)
        if at >= 0:
            tables = [f"block_tables[{group}]" for group in range(len(batch.block_tables))]
            names = ["tokens", "state_slots", "outputs", *["positions"] * len(batch.positions), *tables, "draft_slots"]
            name = names[at]
            found = f"{arrays[at].min()} to {arrays[at].max()}"
            raise ParameterError(f"Batch.{name}: ids must be in [0, {below[at]}); found {found}")

    def _check_widths(self, batch: Batch) -> None:
        """Check that every token that an op stores or reads has a block, also those of encoder inputs."""
        lengths, n_ctx = batch.encoder_lengths, self._limits.n_ctx
        shortest, longest = sequence_lengths(batch.seq_start, batch.seq_past)
        if longest > n_ctx:
            raise ParameterError(
                f"Batch.seq_past: a sequence of {longest} rows; position biases or scores of keys exist for {n_ctx}"
            )
        for group, of_encoder in self._tables:
            least, n, width = shortest, longest, batch.block_tables[group].shape[1]
            if of_encoder and lengths is not None:
                least, n = lengths.min(), lengths.max()
            if least < 1:
                raise ParameterError(
                    f"Batch.encoder_lengths: an encoder input of {least} tokens; at least one is needed"
                )
            if width * BLOCK < n:
                raise ParameterError(
                    f"Batch.block_tables[{group}]: {width} blocks of {BLOCK} for a sequence of {n} tokens"
                )
