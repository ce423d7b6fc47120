"""Snapshots: copies of recurrent states at certain points of a history, from which another sequence can go on."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SNAPSHOT_TOKENS = 256
"""A snapshot is taken each time so many more rows are computed; a whole number of blocks."""

SNAPSHOT_BYTES = 512 * 2**20
"""What all snapshots of a cache may take; those of a Mamba of 1 B parameters 15 MiB each, of a Mamba 2 100 MiB."""


class Snapshots:
    """Which slot holds the state after which history.

    A snapshot has the key of the block that ends where it was taken (`block_pool.chain_hash`), so its key stands for
    all rows before it. When every slot is taken, the snapshot that was used least recently is evicted.

    Parameters
    ----------
    slots : iterable of int
        State slots that no sequence will have.
    """

    def __init__(self, slots: Iterable[int]) -> None:
        self._free = list(slots)
        self._slot_of: OrderedDict[bytes, int] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._slot_of

    def __len__(self) -> int:
        return len(self._slot_of)

    def use(self, key: bytes) -> int:
        """Return the slot of a snapshot that is there."""
        self._slot_of.move_to_end(key)
        return self._slot_of[key]

    def add(self, key: bytes) -> int | None:
        """Return a slot for a new snapshot with this key, or None where there is no room for any."""
        if not self._free and not self._slot_of:
            return None
        slot = self._free.pop() if self._free else self._slot_of.popitem(last=False)[1]
        self._slot_of[key] = slot
        return slot
