"""StepInputs: the inputs of a step as one array of int32, which every kernel reads (shaders/step.wgsl)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.graph.rope import factors_for, rope_frequencies

if TYPE_CHECKING:
    from realizar.backends.wgpu.adapters import AdapterTables
    from realizar.runtime.batch import Batch
    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor

Int32 = npt.NDArray[np.int32]

FIXED = 13
"""Numbers of the header before the block tables: the arrays of shaders/step.wgsl."""
MAX_KEPT = 8192
"""Positions whose cosines and sines are kept, at most: two MiB for 32 pairs."""


class Rotation:
    """One kind of rotary embedding: its angles are positions[axes] * inv_freq, cosines and sines times mscale.

    Parameters
    ----------
    inv_freq : float32 [half]
    mscale : float
    axes : tuple of int | None
        See `Graph.rope`.
    n_kept : int
        Positions for which the cosines and sines are computed once.
    """

    def __init__(
        self, inv_freq: npt.NDArray[np.float32], mscale: float, axes: tuple[int, ...] | None, n_kept: int
    ) -> None:  # fmt: skip
        self._inv_freq, self._mscale, self._axes = inv_freq, mscale, axes
        self._kept = self._computed(np.arange(n_kept, dtype=np.int32)[:, None])

    def cos_sin(self, positions: Int32) -> Int32:
        """Return the bits of the cosines and sines of all rows: pairs, [n * half * 2]."""
        if self._axes is not None and len(positions) > 1:
            return self._computed(positions[list(self._axes)].T).reshape(-1)
        if positions[0].max() < len(self._kept):
            kept: Int32 = self._kept[positions[0]]
            return kept.reshape(-1)
        return self._computed(positions[0][:, None]).reshape(-1)

    def _computed(self, positions: Int32) -> Int32:
        angle = (positions.astype(np.float32) * self._inv_freq).astype(np.float64)
        out = np.empty((*angle.shape, 2), np.float32)
        np.multiply(np.cos(angle), self._mscale, out=out[..., 0], casting="same_kind")
        np.multiply(np.sin(angle), self._mscale, out=out[..., 1], casting="same_kind")
        return out.view(np.int32)


class StepInputs:
    """Packs batches for a program: the header, then rows, sequences, block tables and rotations.

    Cosines and sines are computed here, in float64: a GPU's own are inexact for large angles.

    Parameters
    ----------
    plan : Plan
    n_ctx : int
        See CompileParams.
    tensors : dict of str to Tensor
    adapters : AdapterTables
    """

    def __init__(self, plan: Plan, n_ctx: int, tensors: Mapping[str, Tensor], adapters: AdapterTables) -> None:
        self._n_groups, self._has_states = len(plan.cache_groups), bool(plan.states)
        self._n_ctx, self._tensors, self._adapters = n_ctx, tensors, adapters
        self._rotations: dict[Any, Rotation] = {}

    def table(self, group: int) -> int:
        """Return the place in the header of a group's block table."""
        return FIXED + 2 * group

    def rotation(self, attrs: Mapping[str, Any], weights: tuple[str, ...]) -> int:
        """Return the place in the header of the cosines and sines of a rotary embedding, which every step then has."""
        key = (attrs["dims"], attrs["base"], attrs["scaling"], attrs["axes"], weights)
        if key not in self._rotations:
            name = factors_for(weights, attrs["scaling"], self._n_ctx)
            factors = None if name is None else self._tensors[name].floats()
            frequencies = rope_frequencies(attrs["dims"], attrs["base"], attrs["scaling"], factors)
            self._rotations[key] = Rotation(*frequencies, attrs["axes"], min(self._n_ctx, MAX_KEPT))
        return FIXED + 2 * self._n_groups + list(self._rotations).index(key)

    def pack(self, batch: Batch) -> Int32:
        """Return the array of a step."""
        first = batch.seq_start[:-1] - batch.seq_past
        if batch.n_tokens == batch.n_seqs:  # decoding: a row for each sequence
            sequences, places, ends = batch.seq_start[:-1], batch.seq_past, batch.seq_past + 1
        else:
            counts = np.diff(batch.seq_start)
            sequences = np.repeat(np.arange(batch.n_seqs, dtype=np.int32), counts)
            places = np.arange(batch.n_tokens, dtype=np.int32) - first[sequences]
            ends = batch.seq_past + counts
        reach = batch.reach()
        arrays = [
            batch.tokens, sequences, places, batch.outputs, batch.positions[0], ends, first,
            None if reach is None else reach.reshape(-1),
            _runs(batch) if self._has_states else None, batch.encoder_lengths, self._adapters.pack(batch.adapters),
        ]  # fmt: skip
        header: list[int] = [batch.n_tokens, len(batch.outputs)]
        size = FIXED + 2 * self._n_groups + len(self._rotations)
        parts: list[Int32] = []

        def add(array: Int32) -> int:
            nonlocal size
            parts.append(array)
            size += len(array)
            return size - len(array)

        header += [0 if array is None else add(array) for array in arrays]
        for table in batch.block_tables:
            header += [add(table.reshape(-1)), table.shape[1]]
        header += [add(rotation.cos_sin(batch.positions)) for rotation in self._rotations.values()]
        return np.concatenate([np.array(header, np.int32), *parts], dtype=np.int32)


def _runs(batch: Batch) -> Int32:
    """Return the numbers of `Run` in shaders/step.wgsl for each sequence: [n_seqs * 6]."""
    out = np.empty((batch.n_seqs, 6), np.int32)
    for s in range(batch.n_seqs):
        runs = batch.state_runs(s)
        (first, first_draft, slot), (_, end, last_slot) = runs[0], runs[-1]
        out[s] = first, first_draft, end, slot, last_slot, batch.seq_past[s]
    return out.reshape(-1)
