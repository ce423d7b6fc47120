"""WgpuStorage: keys and values in device memory; what only the host computes with, in host memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.numpy.storage import NumpyStorage
from realizar.backends.wgpu.native import Commands, Copy
from realizar.errors import ParameterError
from realizar.params import kv_types
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realizar.backends.storage import LayerCache, LayerState
    from realizar.backends.wgpu.device import Device
    from realizar.graph import Cache, State
    from realizar.runtime.backend import StorageParams
    from realizar.runtime.plan import CacheGroup

Array = npt.NDArray[Any]

ON_DEVICE = ("full", "window")
"""Kinds of caches that kernels read; the ops that read the others run on the host."""


class DeviceCache(NamedTuple):
    """K and V of one layer: uint32 words [n_blocks, n_head_kv, BLOCK, words] (shaders/store.wgsl)."""

    key: str
    k: Any
    v: Any
    k_shape: tuple[int, int, int]
    v_shape: tuple[int, int, int]
    k_is_f16: bool
    v_is_f16: bool


class WgpuStorage:
    """The memory of a KV cache and of recurrent states.

    Parameters
    ----------
    device : Device
    groups : sequence of CacheGroup
    states : sequence of State
    params : StorageParams

    Attributes
    ----------
    kv_type : str or pair of str
    n_blocks : tuple of int
    n_slots : int
    caches : dict of str to DeviceCache
        Caches in device memory, by key.
    host : NumpyStorage
        Caches of other kinds, and states. It has all groups, with no block where the cache is in device memory.

    Raises
    ------
    ParameterError
        If there is not that much memory, or no kernel for a type of the cache.
    """

    def __init__(
        self, device: Device, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams
    ) -> None:  # fmt: skip
        self.kv_type, self.n_blocks, self.n_slots = params.kv_type, params.n_blocks, params.n_slots
        k_type, v_type = kv_types(params.kv_type)
        for name in (k_type, v_type):
            if name not in ("f16", "f32"):
                raise ParameterError(f"kv_type={name!r}: the wgpu backend has kernels for 'f16' and 'f32' alone")
        self._device, self._commands = device, Commands(device)
        on_host = tuple(0 if g.kind in ON_DEVICE else n for g, n in zip(groups, params.n_blocks, strict=True))
        self.host = NumpyStorage(groups, states, type(params)(on_host, params.n_slots, params.kv_type))
        self.caches: dict[str, DeviceCache] = {}
        self._groups: list[list[DeviceCache]] = []
        for group, n_blocks in zip(groups, params.n_blocks, strict=True):
            made = [self._cache(at, n_blocks, k_type, v_type) for at in group.layers if group.kind in ON_DEVICE]
            self._groups.append(made)
            self.caches.update((cache.key, cache) for cache in made)

    def _cache(self, at: Cache, n_blocks: int, k_type: str, v_type: str) -> DeviceCache:
        shapes = [
            (at.n_head_kv, BLOCK, -(-dim // 2) if kind == "f16" else dim)
            for dim, kind in ((at.head_dim_k, k_type), (at.head_dim_v, v_type))
        ]
        k, v = (self._device.buffer(4 * n_blocks * _size(shape)) for shape in shapes)
        return DeviceCache(at.key, k, v, shapes[0], shapes[1], k_type == "f16", v_type == "f16")

    def close(self) -> None:
        """Free the memory."""
        for cache in self.caches.values():
            cache.k.destroy()
            cache.v.destroy()
        self.caches, self._groups = {}, [[] for _ in self._groups]
        self.host.close()

    @property
    def layers(self) -> list[LayerCache]:
        """The caches in host memory."""
        return [at for at in self.host.layers if at.key not in self.caches]

    @property
    def states(self) -> list[LayerState]:
        """The recurrent states, in host memory."""
        return self.host.states

    @property
    def n_bytes(self) -> int:
        """Bytes of all blocks and slots."""
        return int(self.host.n_bytes + sum(cache.k.size + cache.v.size for cache in self.caches.values()))

    @property
    def slot_bytes(self) -> int:
        """Bytes of one state slot."""
        return int(self.host.slot_bytes)

    def block_bytes(self, group: int) -> int:
        """Bytes of one block of a cache group."""
        if not self._groups[group]:
            return self.host.block_bytes(group)
        return sum(4 * (_size(cache.k_shape) + _size(cache.v_shape)) for cache in self._groups[group])

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block of a cache group."""
        if not self._groups[group]:
            self.host.copy_block(group, src, dst)
            return
        copies, at = [], 0
        scratch = self._device.buffer(self.block_bytes(group))  # WebGPU does not copy within a buffer
        for _, buffer, n_bytes in self._buffers(group):
            copies.append(Copy(buffer, src * n_bytes, scratch, at, n_bytes))
            copies.append(Copy(scratch, at, buffer, dst * n_bytes, n_bytes))
            at += n_bytes
        self._copy(copies)
        scratch.destroy()

    def copy_slot(self, src: int, dst: int) -> None:
        """Copy a state slot."""
        self.host.copy_slot(src, dst)

    def save_blocks(self, group: int, blocks: Sequence[int]) -> dict[str, Array]:
        """Return a copy of these blocks, for `load_blocks`: K and V of each layer, "NAME.k" and "NAME.v"."""
        if not self._groups[group]:
            return self.host.save_blocks(group, blocks)
        buffers = self._buffers(group)
        if not len(blocks):
            return {name: np.empty((0, n_bytes // 4), np.uint32) for name, _, n_bytes in buffers}
        total = len(blocks) * sum(n_bytes for _, _, n_bytes in buffers)
        staging, at, copies = self._device.buffer(total, reads_back=True), 0, []
        for _, buffer, n_bytes in buffers:
            for block in blocks:
                copies.append(Copy(buffer, block * n_bytes, staging, at, n_bytes))
                at += n_bytes
        self._copy(copies)
        found = self._commands.read(staging, total)
        staging.destroy()
        ends = np.cumsum([len(blocks) * n_bytes for _, _, n_bytes in buffers])[:-1]
        parts = np.split(found, ends)
        return {
            name: part.view(np.uint32).reshape(len(blocks), -1)
            for (name, _, _), part in zip(buffers, parts, strict=True)
        }

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Mapping[str, Array]) -> None:
        """Write the result of `save_blocks` into as many blocks."""
        if not self._groups[group]:
            self.host.load_blocks(group, blocks, saved)
            return
        for name, buffer, n_bytes in self._buffers(group):
            for block, words in zip(blocks, saved[name], strict=True):
                self._commands.write(buffer, block * n_bytes, np.ascontiguousarray(words))

    def save_slot(self, slot: int) -> dict[str, Array]:
        """Return a copy of a state slot, for `load_slot`."""
        return self.host.save_slot(slot)

    def load_slot(self, slot: int, saved: Mapping[str, Array]) -> None:
        """Write the result of `save_slot` into a state slot."""
        self.host.load_slot(slot, saved)

    def _buffers(self, group: int) -> list[tuple[str, Any, int]]:
        """Name, buffer and bytes of a block, for K and V of each layer of a group."""
        out = []
        for cache in self._groups[group]:
            out.append((f"{cache.key}.k", cache.k, 4 * _size(cache.k_shape)))
            out.append((f"{cache.key}.v", cache.v, 4 * _size(cache.v_shape)))
        return out

    def _copy(self, copies: Sequence[Copy]) -> None:
        self._device.check_process()
        self._commands.submit(None, (), copies)


def _size(shape: tuple[int, int, int]) -> int:
    n_head_kv, n_rows, words = shape
    return n_head_kv * n_rows * words
