"""ArrayStorage: a KV cache and recurrent states as arrays in host memory, with any block layout."""

from __future__ import annotations

import math
import mmap
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar.errors import ParameterError
from realizar.params import kv_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from realizar.graph import State
    from realizar.runtime.backend import StorageParams
    from realizar.runtime.plan import CacheGroup

    Array = npt.NDArray[Any]


class LayerCache(NamedTuple):
    """One cache: k and v [n_blocks, ...]. For kind "latent" they share memory: V is a part of K."""

    key: str
    k: Array
    v: Array

    @property
    def n_bytes(self) -> int:
        """Bytes of both, used or not; shared memory counts once."""
        return self.k.nbytes + (0 if np.shares_memory(self.k, self.v) else self.v.nbytes)


class LayerState(NamedTuple):
    """One recurrent state of one layer: float32 [n_slots, *shape]."""

    key: str
    data: Array


class ArrayStorage(ABC):
    """Arrays for blocks and state slots; a backend chooses the layout.

    The arrays are not cleared: unused memory takes address space but no RAM. A backend reads only what was written: it
    skips masked keys, and starts the state of a sequence from zero.

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
        Blocks of each group.
    n_slots : int
    kv_type : str or pair of str
        As in EngineParams.

    Raises
    ------
    ParameterError
        If there is not that much memory.
    """

    def __init__(self, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams) -> None:
        self.kv_type = params.kv_type
        self.n_blocks = params.n_blocks
        self.n_slots = params.n_slots
        k_type, v_type = kv_types(params.kv_type)
        self.layers: list[LayerCache] = []
        self._layers_of: list[slice] = []
        for group, n_blocks in zip(groups, params.n_blocks, strict=True):
            self._layers_of.append(slice(len(self.layers), len(self.layers) + len(group.layers)))
            for at in group.layers:
                k = v = self._blocks(n_blocks, at.n_head_kv, at.head_dim_k, k_type)
                if group.kind != "latent":
                    v = self._blocks(n_blocks, at.n_head_kv, at.head_dim_v, v_type)
                self.layers.append(LayerCache(at.key, k, v))
        self.states = [
            LayerState(at.key, untouched((params.n_slots, *at.shape), np.dtype(np.float32))) for at in states
        ]  # fmt: skip

    @abstractmethod
    def _blocks(self, n_blocks: int, n_head_kv: int, head_dim: int, kv_type: str) -> Array:
        """Return an array [n_blocks, ...] for K or V of one layer; ParameterError as the class."""

    def close(self) -> None:
        """Release the arrays; their memory is freed when no program references them."""
        self.layers, self.states, self._layers_of = [], [], [slice(0)] * len(self.n_blocks)

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays, used or not."""
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

    def save_blocks(self, group: int, blocks: Sequence[int]) -> dict[str, Array]:
        """Return a copy of these blocks, for `load_blocks`: K and V of each layer, "NAME.k" and "NAME.v"."""
        ids = list(blocks)
        return {name: array[ids] for name, array in self._arrays(group)}

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Mapping[str, Array]) -> None:
        """Write the result of `save_blocks` into as many blocks."""
        ids = list(blocks)
        for name, array in self._arrays(group):
            array[ids] = saved[name]

    def _arrays(self, group: int) -> Iterator[tuple[str, Array]]:
        """Names and arrays of the keys and values of a group; memory that both share is named once."""
        for name, k, v in self._group(group):
            yield f"{name}.k", k
            if not np.shares_memory(k, v):
                yield f"{name}.v", v

    def save_slot(self, slot: int) -> dict[str, Array]:
        """Return a copy of a state slot, for `load_slot`: the states by name."""
        return {name: data[slot].copy() for name, data in self.states}

    def load_slot(self, slot: int, saved: Mapping[str, Array]) -> None:
        """Write the result of `save_slot` into a state slot."""
        for name, data in self.states:
            data[slot] = saved[name]

    def _group(self, group: int) -> list[LayerCache]:
        return self.layers[self._layers_of[group]]


def untouched(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array in fresh pages, which take no RAM until they are written and are unmapped with the array.

    Not `np.empty`: malloc keeps freed memory (250 MiB with SmolLM2), and numpy requests huge pages, with which the
    first token, one block in each head's row, would touch most of the cache (phi-2: 2.5 GiB, 0.3 s). Without huge pages
    a step of Llama-3.2-1B after 4096 tokens takes 1.4 % longer.

    Raises
    ------
    ParameterError
        If there is not that much memory in one piece.
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    try:
        pages = _pages(max(n_bytes, 1))
    except (OSError, OverflowError, ValueError):  # the last two: more bytes than the address space
        raise ParameterError(
            f"the cache needs {n_bytes / 2**30:.1f} GiB in one piece, which cannot be had; ask for less n_ctx or n_seqs"
        ) from None
    return np.frombuffer(pages, np.uint8, n_bytes).view(dtype).reshape(shape)


def _pages(n_bytes: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # a child of fork() has its own
