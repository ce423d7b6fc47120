"""CPUStorage: the memory of a KV cache, in the layout of the attention kernels, and of recurrent states."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar._kernels.kv import kv_bytes
from realizar.errors import ParameterError
from realizar.params import kv_types

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from realizar.graph import State
    from realizar.runtime.backend import StorageParams
    from realizar.runtime.plan import CacheGroup

    Array = npt.NDArray[Any]


class LayerCache(NamedTuple):
    """One cache: k and v, each uint8 [n_blocks, n_head_kv, kv_bytes(its type, its head_dim)]; see docs/kernels.md.

    In a cache of kind "latent" (MLA) they share memory: V is a part of K.
    """

    key: str
    k: Array
    v: Array

    @property
    def n_bytes(self) -> int:
        """Bytes of K and V, touched or not; shared memory counts once."""
        return self.k.nbytes + (0 if np.shares_memory(self.k, self.v) else self.v.nbytes)


class LayerState(NamedTuple):
    """One recurrent state of one layer: float32 [n_slots, *shape]."""

    key: str
    data: Array


class CPUStorage:
    """Arrays for blocks and state slots.

    K is transposed within a block, so that neither the product with a query nor the sum over values needs sums across a
    vector. The blocks of a head are contiguous: attention reads one head at a time, and the prefetcher would otherwise
    load the heads between, which would cost a fifth of the decoding speed.

    The arrays are not cleared: unused memory takes address space but no RAM. The kernels read only written memory: they
    skip masked keys, and the state of a sequence is initially zero.

    Parameters
    ----------
    groups : sequence of CacheGroup
    states : sequence of State
    params : StorageParams

    Attributes
    ----------
    layers : list of LayerCache
        In the order of the groups.
    states : list of LayerState
    n_blocks : tuple of int
        Number of blocks of each group.
    kv_type : str or pair of str
        See EngineParams.

    Raises
    ------
    ParameterError
        If there is not enough memory.
    """

    def __init__(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> None:
        self.kv_type = params.kv_type
        self.n_blocks = params.n_blocks
        k_type, v_type = kv_types(params.kv_type)
        self.layers: list[LayerCache] = []
        self._layers_of: list[slice] = []
        for group, n_blocks in zip(groups, params.n_blocks, strict=True):
            self._layers_of.append(slice(len(self.layers), len(self.layers) + len(group.layers)))
            for at in group.layers:
                k = _untouched((at.n_head_kv, n_blocks, kv_bytes(k_type, at.head_dim_k)), np.dtype(np.uint8))
                v = k
                if group.kind != "latent":
                    v = _untouched((at.n_head_kv, n_blocks, kv_bytes(v_type, at.head_dim_v)), np.dtype(np.uint8))
                self.layers.append(LayerCache(at.key, k.swapaxes(0, 1), v.swapaxes(0, 1)))
        self.states = [
            LayerState(at.key, _untouched((params.n_slots, *at.shape), np.dtype(np.float32))) for at in states
        ]  # fmt: skip

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays, touched or not."""
        return sum(at.n_bytes for at in self.layers) + sum(s.data.nbytes for s in self.states)

    @property
    def slot_bytes(self) -> int:
        """Bytes of one state slot."""
        return sum(at.data.nbytes // len(at.data) for at in self.states)

    def block_bytes(self, group: int) -> int:
        """Bytes of one block of a cache group."""
        return sum(at.n_bytes // len(at.k) for at in self._group(group))

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block of a cache group."""
        for _, k, v in self._group(group):
            k[dst] = k[src]
            v[dst] = v[src]

    def copy_slot(self, src: int, dst: int) -> None:
        """Copy a state slot."""
        for _, data in self.states:
            data[dst] = data[src]

    def save_blocks(self, group: int, blocks: Sequence[int]) -> list[tuple[Array, Array]]:
        """Return a copy of these blocks, for `load_blocks`."""
        ids = list(blocks)
        found = []
        for _, k, v in self._group(group):
            saved = k[ids]
            found.append((saved, saved if np.shares_memory(k, v) else v[ids]))
        return found

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Sequence[tuple[Array, Array]]) -> None:
        """Write the result of `save_blocks` into as many blocks."""
        ids = list(blocks)
        for (_, k, v), (saved_k, saved_v) in zip(self._group(group), saved, strict=True):
            k[ids] = saved_k
            if saved_v is not saved_k:
                v[ids] = saved_v

    def save_slot(self, slot: int) -> list[Array]:
        """Return a copy of a state slot, for `load_slot`."""
        return [data[slot].copy() for _, data in self.states]

    def load_slot(self, slot: int, saved: Sequence[Array]) -> None:
        """Write the result of `save_slot` into a state slot."""
        for (_, data), values in zip(self.states, saved, strict=True):
            data[slot] = values

    def _group(self, group: int) -> list[LayerCache]:
        return self.layers[self._layers_of[group]]


def _untouched(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array in fresh pages, which take no RAM until they are written and are unmapped with the array.

    Not `np.empty`, for two reasons: malloc does not return freed memory to the system (250 MiB for SmolLM2), and numpy
    requests huge pages, so that the first token, which writes one block of each head, would touch most of the cache
    (phi-2: 2.5 GiB, 0.3 s). Without huge pages, a step of Llama-3.2-1B after 4096 tokens takes 1.4 % longer.
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    try:
        pages = _pages(max(n_bytes, 1))
    except (OSError, OverflowError, ValueError):  # OverflowError, ValueError: beyond the address space
        raise ParameterError(
            f"the cache needs {n_bytes / 2**30:.1f} GiB in one piece, which cannot be allocated; "
            "use a smaller n_ctx or n_seqs"
        ) from None
    return np.frombuffer(pages, np.uint8, n_bytes).view(dtype).reshape(shape)


def _pages(n_bytes: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # a child of fork() has its own copy
