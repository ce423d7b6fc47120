"""StagedStorage: a KV cache and recurrent states, each layer's in the memory of the member that computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from realizar.runtime.backend import Storage

    Array = npt.NDArray[Any]


class StagedStorage:
    """The storages of all members. Each has all groups and slots, so block tables mean the same everywhere.

    Parameters
    ----------
    members : sequence of Storage
        Each with the caches and states of its own layers.
    n_blocks : tuple of int
        Blocks of each cache group.
    n_slots : int
    """

    def __init__(self, members: Sequence[Storage], n_blocks: tuple[int, ...], n_slots: int) -> None:
        self.members, self.n_blocks, self.n_slots = tuple(members), n_blocks, n_slots

    @property
    def layers(self) -> list[Any]:
        """The caches in host memory."""
        return [at for storage in self.members for at in getattr(storage, "layers", ())]

    @property
    def states(self) -> list[Any]:
        """The recurrent states of all members."""
        return [at for storage in self.members for at in getattr(storage, "states", ())]

    @property
    def n_bytes(self) -> int:
        """Bytes of all blocks and slots."""
        return sum(storage.n_bytes for storage in self.members)

    @property
    def slot_bytes(self) -> int:
        """Bytes of one state slot."""
        return sum(storage.slot_bytes for storage in self.members)

    def block_bytes(self, group: int) -> int:
        """Bytes of one block of a cache group."""
        return sum(storage.block_bytes(group) for storage in self.members)

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block of a cache group."""
        for storage in self.members:
            storage.copy_block(group, src, dst)

    def copy_slot(self, src: int, dst: int) -> None:
        """Copy a state slot."""
        for storage in self.members:
            storage.copy_slot(src, dst)

    def save_blocks(self, group: int, blocks: Sequence[int]) -> dict[str, Array]:
        """Return a copy of these blocks, for `load_blocks`: the arrays of all members."""
        return {name: array for at in self.members for name, array in at.save_blocks(group, blocks).items()}

    def load_blocks(self, group: int, blocks: Sequence[int], saved: Mapping[str, Array]) -> None:
        """Write the result of `save_blocks` into as many blocks."""
        for storage in self.members:
            storage.load_blocks(group, blocks, saved)

    def save_slot(self, slot: int) -> dict[str, Array]:
        """Return a copy of a state slot, for `load_slot`: the states of all members."""
        return {name: state for at in self.members for name, state in at.save_slot(slot).items()}

    def load_slot(self, slot: int, saved: Mapping[str, Array]) -> None:
        """Write the result of `save_slot` into a state slot."""
        for storage in self.members:
            storage.load_slot(slot, saved)
