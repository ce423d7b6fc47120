"""SequenceInputs: what the numpy definitions of ops read of one sequence of a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realizar.backends.numpy.storage import NumpyStorage, SequenceKeyValues
from realizar.graph.reference import Inputs

if TYPE_CHECKING:
    from realizar.graph.reference import TensorLike
    from realizar.runtime.adapters import AdapterSet
    from realizar.runtime.backend import CompileParams
    from realizar.runtime.batch import Batch
    from realizar.runtime.plan import Plan

F32 = npt.NDArray[np.float32]


class SequenceInputs:
    """Makes the inputs of runs of consecutive rows of one sequence.

    Parameters
    ----------
    plan : Plan
    floats : dict of str to TensorLike
        The weights, by GGUF name.
    storage : NumpyStorage
    params : CompileParams
    """

    def __init__(
        self, plan: Plan, floats: Mapping[str, TensorLike], storage: NumpyStorage, params: CompileParams
    ) -> None:  # fmt: skip
        self._plan, self._floats, self._storage, self._params = plan, floats, storage, params

    def close(self) -> None:
        """Release the weights."""
        self._floats = {}

    def of(self, batch: Batch, s: int, first: int, end: int, slot: int, states: Collection[str]) -> Inputs:
        """Return the inputs of rows first to end of a step, which are those of sequence s.

        `states` are the recurrent states that the run updates, in this slot; zeroed before the first row of a sequence.
        """
        n_past = int(batch.seq_past[s]) + first - int(batch.seq_start[s])
        embeddings: dict[int, F32] = {}
        if batch.embeddings is not None and batch.embedding_rows is not None:
            rows = zip(batch.embedding_rows.tolist(), batch.embeddings, strict=True)
            embeddings = {row - first: x for row, x in rows if first <= row < end}
        spans = [] if batch.spans is None else batch.spans.tolist()
        wanted = (first <= batch.outputs) & (batch.outputs < end)
        of_slot = {at.key: at.data[slot] for at in self._storage.states if at.key in states}
        if not n_past:
            for state in of_slot.values():
                state[...] = 0
        return Inputs(
            tokens=batch.tokens[first:end],
            positions=batch.positions[:, first:end],
            outputs=batch.outputs[wanted] - first,
            tensors=self._floats,
            activations=self._params.activations,
            kv_type=self._storage.kv_type,
            n_ctx=self._params.n_ctx,
            kv=SequenceKeyValues(self._storage, self._plan, batch, s, n_past),
            embeddings=embeddings,
            spans=[(a - first, b - first) for a, b in spans if first <= a < end],
            states=of_slot,
            adapters=self._adapters(batch, s),
        )

    def _adapters(self, batch: Batch, s: int) -> AdapterSet | None:
        """Return the adapters of sequence s."""
        if batch.adapters is None or self._params.adapters is None:
            return None
        return self._params.adapters.get(int(batch.adapters[s]))
