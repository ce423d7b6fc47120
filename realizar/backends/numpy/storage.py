"""NumpyStorage: keys and values as plain float arrays, and the view of them that a sequence of a step has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realizar.backends.storage import ArrayStorage, untouched
from realizar.runtime.batch import BLOCK, Batch

if TYPE_CHECKING:
    from realizar.runtime.plan import Plan

F32 = npt.NDArray[np.float32]


class NumpyStorage(ArrayStorage):
    """Blocks [n_blocks, BLOCK, n_head_kv, head_dim] of float16 for type "f16", of float32 for the others.

    "int8" and "q4" are kept as float32: the definition of attention rounds what it reads, as it does for "f16".
    """

    def _blocks(self, n_blocks: int, n_head_kv: int, head_dim: int, kv_type: str) -> npt.NDArray[Any]:
        dtype = np.dtype(np.float16 if kv_type == "f16" else np.float32)
        return untouched((n_blocks, BLOCK, n_head_kv, head_dim), dtype)


class SequenceKeyValues:
    """The keys and values of one sequence of a step (`graph.reference.KeyValues`).

    Parameters
    ----------
    storage : NumpyStorage
    plan : Plan
        Has the group of each cache.
    batch : Batch
    s : int
        Index of the sequence in the batch.
    n_past : int
        Rows of the sequence before this run.
    """

    def __init__(self, storage: NumpyStorage, plan: Plan, batch: Batch, s: int, n_past: int) -> None:
        self._layers = {at.key: at for at in storage.layers}
        self._plan = plan
        self._tables = [table[s] for table in batch.block_tables]
        self._n_past = n_past
        self._n_encoder = 0 if batch.encoder_lengths is None else int(batch.encoder_lengths[s])

    def extend(self, cache: str, k: F32, v: F32 | None) -> tuple[F32, F32]:
        """Write the rows of this step, and return all rows of the sequence; those out of a window may be anything."""
        n = self._n_past + len(k)
        rows = np.arange(self._n_past, n)
        blocks, at = self._tables[self._plan.cache(cache)[0]][rows // BLOCK], self._layers[cache]
        at.k[blocks, rows % BLOCK] = k
        if v is not None:
            at.v[blocks, rows % BLOCK] = v
        return self._read(cache, n)

    def of_layer(self, cache: str, n: int) -> tuple[F32, F32]:
        """Return all rows of the sequence, with the n of this step, which are written."""
        return self._read(cache, self._n_past + n)

    def of_encoder(self, cache: str) -> tuple[F32, F32]:
        """Return the rows of the encoder input."""
        return self._read(cache, self._n_encoder)

    def _read(self, cache: str, n: int) -> tuple[F32, F32]:
        blocks, at = self._tables[self._plan.cache(cache)[0]][: -(-n // BLOCK)], self._layers[cache]
        k, v = (blocks_of[blocks].reshape(-1, *blocks_of.shape[2:])[:n] for blocks_of in (at.k, at.v))
        return k, v
