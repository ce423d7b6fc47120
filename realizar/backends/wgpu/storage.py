"""WgpuStorage: keys and values in device memory; what only the host computes with, in host memory."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.numpy.storage import NumpyStorage
from realizar.backends.wgpu.native import Commands, Copy
from realizar.params import kv_types
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from realizar.backends.wgpu.device import Device
    from realizar.graph import Cache, State
    from realizar.runtime.backend import StorageParams
    from realizar.runtime.plan import CacheGroup

Array = npt.NDArray[Any]


OF_WORD = {"f32": 1, "f16": 2, "int8": 4, "q4": 8}
"""Elements of a key or a value in a word of 32 bits, by the type of the cache."""
ROUNDED = ("int8", "q4")
"""Types with a scale for each head of a row, a float32."""


class DeviceCache(NamedTuple):
    """K and V of one layer: uint32 words [n_blocks, n_head_kv, BLOCK, words] (shaders/store.wgsl); no V for latents.

    Each head of a block of a rounded type has the scales of its rows after them (shaders/store_rounded.wgsl).
    """

    key: str
    k: Any
    v: Any | None
    k_shape: tuple[int, int, int]
    v_shape: tuple[int, int, int]
    k_type: str
    v_type: str

    @property
    def is_rounded(self) -> bool:
        """Whether keys or values are rounded."""
        return self.k_type in ROUNDED or (self.v is not None and self.v_type in ROUNDED)


class DeviceState(NamedTuple):
    """A recurrent state: float32 [n_slots, n]."""

    key: str
    buffer: Any
    n: int


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
        By key.
    states : dict of str to DeviceState
        By key.
    host : NumpyStorage
        All states, which ops on the host fetch and put back (`fetch_state`, `put_state`); no caches.

    Raises
    ------
    ParameterError
        If there is not that much memory.
    """

    def __init__(
        self, device: Device, groups: Sequence[CacheGroup], states: Sequence[State], params: StorageParams
    ) -> None:  # fmt: skip
        self.kv_type, self.n_blocks, self.n_slots = params.kv_type, params.n_blocks, params.n_slots
        k_type, v_type = kv_types(params.kv_type)
        self._device, self._commands = device, Commands(device)
        self.host = NumpyStorage((), states, replace(params, n_blocks=()))
        self.caches: dict[str, DeviceCache] = {}
        self._groups: list[list[DeviceCache]] = []
        for group, n_blocks in zip(groups, params.n_blocks, strict=True):
            made = [self._cache(at, n_blocks, k_type, v_type) for at in group.layers]
            self._groups.append(made)
            self.caches.update((cache.key, cache) for cache in made)
        self.states = {at.key: self._state(at, params.n_slots) for at in states}

    def _cache(self, at: Cache, n_blocks: int, k_type: str, v_type: str) -> DeviceCache:
        pairs = ((at.head_dim_k, k_type), (at.head_dim_v, v_type))
        shapes = [(at.n_head_kv, BLOCK, -(-dim // OF_WORD[kind])) for dim, kind in pairs]
        sizes = [4 * n_blocks * _size(shape, kind) for shape, (_, kind) in zip(shapes, pairs, strict=True)]
        k, v = (self._device.buffer(size) if size else None for size in sizes)
        return DeviceCache(at.key, k, v, shapes[0], shapes[1], k_type, v_type)

    def _state(self, at: State, n_slots: int) -> DeviceState:
        n = prod(at.shape)
        return DeviceState(at.key, self._device.buffer(4 * n_slots * n), n)

    def close(self) -> None:
        """Free the memory."""
        for state in self.states.values():
            state.buffer.destroy()
        for group in range(len(self._groups)):
            for _, buffer, _ in self._buffers(group):
                buffer.destroy()
        self.caches, self.states, self._groups = {}, {}, [[] for _ in self._groups]
        self.host.close()

    @property
    def n_bytes(self) -> int:
        """Bytes of all blocks and slots."""
        buffers = [buffer for group in range(len(self._groups)) for _, buffer, _ in self._buffers(group)]
        buffers += [state.buffer for state in self.states.values()]
        return sum(int(buffer.size) for buffer in buffers)

    @property
    def slot_bytes(self) -> int:
        """Bytes of one state slot."""
        return sum(4 * at.n for at in self.states.values())

    def block_bytes(self, group: int) -> int:
        """Bytes of one block of a cache group."""
        return sum(n_bytes for _, _, n_bytes in self._buffers(group))

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block of a cache group."""
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
        if not self.states or src == dst:
            return
        scratch, at = self._device.buffer(self.slot_bytes), 0  # WebGPU does not copy within a buffer
        copies = []
        for state in self.states.values():
            n_bytes = 4 * state.n
            copies.append(Copy(state.buffer, src * n_bytes, scratch, at, n_bytes))
            copies.append(Copy(scratch, at, state.buffer, dst * n_bytes, n_bytes))
            at += n_bytes
        self._copy(copies)
        scratch.destroy()

    def save_blocks(self, group: int, blocks: Sequence[int]) -> dict[str, Array]:
        """Return a copy of these blocks, for `load_blocks`: K and V of each layer, "NAME.k" and "NAME.v"."""
        buffers = self._buffers(group)
        if not len(blocks) or not buffers:
            return {name: np.empty((0, n_bytes // 4), np.int32) for name, _, n_bytes in buffers}
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
            name: part.view(np.int32).reshape(len(blocks), -1)
            for (name, _, _), part in zip(buffers, parts, strict=True)
        }

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Mapping[str, Array]) -> None:
        """Write the result of `save_blocks` into as many blocks."""
        for name, buffer, n_bytes in self._buffers(group):
            for block, words in zip(blocks, saved[name], strict=True):
                self._commands.write(buffer, block * n_bytes, np.ascontiguousarray(words))

    def save_slot(self, slot: int) -> dict[str, Array]:
        """Return a copy of a state slot, for `load_slot`: float32 by the key of the state."""
        return {key: self._read_state(state, slot) for key, state in self.states.items()}

    def load_slot(self, slot: int, saved: Mapping[str, Array]) -> None:
        """Write the result of `save_slot` into a state slot."""
        for key, state in self.states.items():
            self._commands.write(state.buffer, slot * 4 * state.n, np.ascontiguousarray(saved[key], np.float32))

    def fetch_state(self, key: str, src: int, dst: int) -> None:
        """Copy slot `src` of a state to slot `dst` in the host's memory, for an op that runs there."""
        data = self._host_state(key)
        data[dst] = self._read_state(self.states[key], src).reshape(data.shape[1:])

    def put_state(self, key: str, slot: int) -> None:
        """Copy a slot of a state from the host's memory to the device."""
        state = self.states[key]
        self._commands.write(state.buffer, slot * 4 * state.n, np.ascontiguousarray(self._host_state(key)[slot]))

    def _host_state(self, key: str) -> Array:
        return next(at.data for at in self.host.states if at.key == key)

    def _read_state(self, state: DeviceState, slot: int) -> Array:
        n_bytes = 4 * state.n
        staging = self._device.buffer(n_bytes, reads_back=True)
        self._copy([Copy(state.buffer, slot * n_bytes, staging, 0, n_bytes)])
        found = self._commands.read(staging, n_bytes).view(np.float32)
        staging.destroy()
        return found

    def _buffers(self, group: int) -> list[tuple[str, Any, int]]:
        """Name, buffer and bytes of a block, for K and V of each layer of a group."""
        out = []
        for cache in self._groups[group]:
            out.append((f"{cache.key}.k", cache.k, 4 * _size(cache.k_shape, cache.k_type)))
            if cache.v is not None:
                out.append((f"{cache.key}.v", cache.v, 4 * _size(cache.v_shape, cache.v_type)))
        return out

    def _copy(self, copies: Sequence[Copy]) -> None:
        self._device.check_process()
        self._commands.submit(None, (), copies)


def _size(shape: tuple[int, int, int], kind: str) -> int:
    """Return the words of a block; 0 without elements."""
    n_head_kv, n_rows, words = shape
    return n_head_kv * n_rows * (words + (kind in ROUNDED and words > 0))
