"""The adapters of sequences in device memory: their factors in one buffer, and tables by which kernels find them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, finalize

import numpy as np
import numpy.typing as npt

from realizar.backends.wgpu.native import Commands, Copy
from realizar.errors import ParameterError

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device
    from realizar.runtime.adapters import Adapter, AdapterSet, AdapterTable, Factors

Int32 = npt.NDArray[np.int32]


class Laid(NamedTuple):
    """Factors in the buffer: words of A [rank, n_in] and of B transposed [rank, n_out], two float16 or one float32."""

    a: int
    b: int
    rank: int
    is_half: bool


class AdapterPool:
    """The factors of the adapters that sequences have used, in one buffer, since a kernel reads those of all sequences.

    The memory of an adapter is used again when no request and no engine holds it.

    Parameters
    ----------
    device : Device

    Attributes
    ----------
    buffer : wgpu buffer
        Replaced by a larger one when there is no room.
    """

    def __init__(self, device: Device) -> None:
        self._device, self._commands = device, Commands(device)
        self._laid: WeakKeyDictionary[Adapter, dict[str, Laid]] = WeakKeyDictionary()
        self._free: list[tuple[int, int]] = []
        self._released: deque[tuple[int, int]] = deque()  # a finalizer may run in any thread
        self.buffer = device.buffer(4)

    def laid(self, adapter: Adapter, name: str, factors: Factors) -> Laid:
        """Return where the factors of a weight or a place are; they are uploaded when they are first used.

        Raises
        ------
        ParameterError
            If there is no memory for them.
        """
        found = self._laid.setdefault(adapter, {})
        if name not in found:
            words, at, rank = _words(factors)
            first = self._room(len(words))
            finalize(adapter, self._released.append, (first, len(words)))
            self._commands.write(self.buffer, 4 * first, words)
            found[name] = Laid(first, first + at, rank, factors.b.dtype == np.float16)
        return found[name]

    def close(self) -> None:
        """Free the memory."""
        self.buffer.destroy()
        self._laid.clear()
        self._free = []

    def _room(self, n: int) -> int:
        """Return the first of n free words."""
        while self._released:
            self._free.append(self._released.popleft())
        self._free = _joined(self._free)
        fitting = [(size, first) for first, size in self._free if size >= n]
        if not fitting:
            self._grow(n)
            return self._room(n)
        size, first = min(fitting)
        self._free.remove((first, size))
        if size > n:
            self._free.append((first + n, size - n))
        return first

    def _grow(self, n: int) -> None:
        """Replace the buffer by one with room for n words more, and as much as it had."""
        before, old = self.buffer.size // 4, self.buffer
        more = max(n, before)
        self.buffer = self._device.buffer(4 * (before + more))
        self._commands.submit(None, (), [Copy(old, 0, self.buffer, 0, old.size)])
        old.destroy()
        self._free.append((before, more))


def _joined(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (first, size) with neighbours as one."""
    out: list[tuple[int, int]] = []
    for first, size in sorted(free):
        if out and sum(out[-1]) == first:
            out[-1] = (out[-1][0], out[-1][1] + size)
        else:
            out.append((first, size))
    return out


def _words(factors: Factors) -> tuple[npt.NDArray[np.uint32], int, int]:
    """Return A and B as words, the word at which B begins, and the rank."""
    a = np.empty(0, np.uint32) if factors.a is None else _rows(factors.a)
    b = _rows(factors.b.T)
    return np.concatenate([a, b]), len(a), factors.b.shape[1]


def _rows(x: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Rows of float32, or of float16 that are padded to whole words, as words."""
    padding = x.shape[1] % 2 if x.dtype == np.float16 else 0
    rows = np.pad(x, ((0, 0), (0, padding))) if padding else x
    return np.ascontiguousarray(rows).view(np.uint32).reshape(-1)


class AdapterTables:
    """The weights and places that a program changes, and the tables of a step (shaders/adapters.wgsl).

    Parameters
    ----------
    pool : AdapterPool
    table : AdapterTable | None
        The sets of adapters; None if no sequence may have any.
    """

    def __init__(self, pool: AdapterPool, table: AdapterTable | None) -> None:
        self.pool, self._table = pool, table
        self._slots: dict[str, tuple[int, int]] = {}

    def slot(self, name: str, n_out: int, n_in: int) -> int:
        """Return the slot of a weight, or of a place, whose factors have this size."""
        self._slots[name] = n_out, n_in
        return list(self._slots).index(name)

    def pack(self, numbers: Int32 | None) -> Int32 | None:
        """Return the tables of a step, or None if no sequence has adapters.

        For each sequence the place of the slots of its set, for each slot the place of its entries, both 0 for none;
        entries are their number, then five for each adapter: A, B, rank, the bits of the scale, and whether it has
        float16. Places are relative to the first number.

        Raises
        ------
        ParameterError
            If an adapter is for weights of another size, or there is no memory for it.
        """
        if numbers is None or self._table is None or not numbers.any():
            return None
        found = {number: self._table.get(number) for number in dict.fromkeys(numbers.tolist()) if number}
        out: list[int] = [0] * len(numbers)
        place = {}
        for number, each in found.items():
            if each is not None:
                place[number] = self._add(each, out)
        out[: len(numbers)] = [place.get(number, 0) for number in numbers.tolist()]
        return np.array(out, np.int32)

    def _add(self, each: AdapterSet, out: list[int]) -> int:
        """Append the tables of a set, and return the place of its slots."""
        first = len(out)
        out += [0] * len(self._slots)
        for slot, name in enumerate(self._slots):
            entries = [number for use in each.uses for number in self._entry(use, name)]
            if entries:
                out[first + slot] = len(out)
                out += [len(entries) // 5, *entries]
        return first

    def _entry(self, use: Any, name: str) -> list[int]:
        factors = use.of(name)
        if factors is None:
            return []
        shape = len(factors.b), 1 if factors.a is None else factors.a.shape[1]
        if shape != self._slots[name]:
            raise ParameterError(f"{use.adapter.path}: {name} of shape {shape}, the model's is {self._slots[name]}")
        at = self.pool.laid(use.adapter, name, factors)
        scale = int(np.float32(use.scale * factors.scale).view(np.int32))
        return [at.a, at.b, at.rank, scale, int(at.is_half)]
