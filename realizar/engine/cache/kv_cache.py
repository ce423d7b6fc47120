"""KVCache: assigns the blocks and state slots of a backend's storage to sequences and snapshots."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from realizar.engine.cache.block_pool import BlockPool
from realizar.errors import RealizarError
from realizar.runtime.backend import StorageParams
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.graph import State
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend
    from realizar.runtime.plan import CacheGroup

    Array = npt.NDArray[Any]

SNAPSHOT_TOKENS = 256
"""Rows between snapshots of the recurrent states; a whole number of blocks."""

SNAPSHOT_BYTES = 512 * 2**20
"""Maximum bytes of all snapshots of a cache; one takes 15 MiB for a Mamba of 1 B parameters, 100 MiB for a Mamba 2."""


class Snapshots:
    """Finds the slot that holds the state after a given history.

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
        """Return the slot of a snapshot that exists."""
        self._slot_of.move_to_end(key)
        return self._slot_of[key]

    def add(self, key: bytes) -> int | None:
        """Return a slot for a new snapshot with this key, or None where there is no room for any."""
        if not self._free and not self._slot_of:
            return None
        slot = self._free.pop() if self._free else self._slot_of.popitem(last=False)[1]
        self._slot_of[key] = slot
        return slot


class KVCache:
    """Keys, values and recurrent states of every sequence, in blocks and slots.

    Layers that remember alike (the same kind and window) form a group. A block of a group holds BLOCK tokens of all
    its layers, so a sequence needs one table per group. The bytes are the storage's: copies are collected here, and
    made by `flush`.

    A recurrent state cannot be cut into blocks: a sequence has one slot for it. It cannot go back either, so copies of
    it are kept in further slots (`Snapshots`), and with speculative decoding the draft tokens of a step update a second
    slot of the sequence.

    Parameters
    ----------
    groups : sequence of CacheGroup
        What the plan's attentions remember.
    states : sequence of State
        What its recurrences remember.
    params : EngineParams
        kv_type, n_seqs, n_batch and n_ctx (which must be given).
    backend : Backend
        Makes the storage.
    has_drafts : bool
        Whether sequences may have draft tokens.

    Attributes
    ----------
    storage : Storage
        The bytes.
    states : tuple of State
    pools : list of BlockPool
        One per group.
    snapshots : Snapshots
        Where states are kept for other sequences.
    windows : list of int
        Tokens that a query of the group sees, itself included; 0 is all.
    cross : list of bool
        Whether a group holds the keys and values of encoder inputs (cross-attention), not those of own tokens.
    kv_type : str or pair of str
        As in EngineParams.
    max_seqs : int
        Sequences that may be computed at once: each needs a row of the step, and a slot where there are states.
    n_slots : int
        State slots of sequences, without those of snapshots.

    Raises
    ------
    ParameterError
        If there is not that much memory.
    """

    def __init__(
        self, groups: Seq[CacheGroup], states: Seq[State], params: EngineParams, backend: Backend,
        has_drafts: bool = False,
    ) -> None:  # fmt: skip
        if params.n_ctx is None:
            raise RealizarError("a KVCache needs n_ctx; take the model's own where the user gave none")
        self.n_ctx = params.n_ctx
        self.n_batch = params.n_batch
        self.kv_type = params.kv_type
        self._n_seqs = params.n_seqs
        self.windows = [group.window for group in groups]
        self.cross = [group.kind == "cross" for group in groups]
        self.pools = [BlockPool(params.n_seqs * n) for n in self.blocks_needed(self.n_ctx, self.n_ctx)]
        self.max_seqs = min(params.n_seqs, self.n_batch) if states else self.n_batch
        self._slots_each = 0 if not states else 2 if has_drafts else 1
        self.n_slots = n_slots = self.max_seqs * self._slots_each
        n_snapshots = self._n_snapshots(sum(4 * math.prod(at.shape) for at in states), params.n_seqs)
        self.states = tuple(states)
        room = StorageParams(tuple(pool.n_blocks for pool in self.pools), n_slots + n_snapshots, params.kv_type)
        self.storage = backend.storage(groups, states, room)
        self.snapshots = Snapshots(range(n_slots, n_slots + n_snapshots))
        self._free_slots = list(reversed(range(n_slots)))
        self._block_copies: list[tuple[int, int, int]] = []
        self._slot_copies: list[tuple[int, int]] = []

    def _n_snapshots(self, slot_bytes: int, n_seqs: int) -> int:
        """Number of snapshots for n_seqs sequences: one every SNAPSHOT_TOKENS rows and one more, within the budget."""
        return min(n_seqs * (self.n_ctx // SNAPSHOT_TOKENS + 1), SNAPSHOT_BYTES // slot_bytes) if slot_bytes else 0

    def n_bytes_for(self, n_seqs: int) -> int:
        """Bytes of the storage of a cache like this one for so many sequences."""
        slot = self.storage.slot_bytes
        slots = min(n_seqs, self.n_batch) * self._slots_each + self._n_snapshots(slot, n_seqs)
        blocks = sum(pool.n_blocks * self.storage.block_bytes(group) for group, pool in enumerate(self.pools))
        return blocks * n_seqs // self._n_seqs + slots * slot

    @property
    def n_bytes(self) -> int:
        """Bytes of the storage, touched or not."""
        return self.storage.n_bytes

    def blocks_needed(self, n_tokens: int, n_encoder: int = 0, n_seqs: int = 1, n_shared: int = 0) -> list[int]:
        """Blocks per group that a sequence of n_tokens, with an encoder input of n_encoder, holds at most.

        Or that n_seqs of them hold, which share encoder input and the first n_shared tokens. In a group with a window
        each holds those of the window and of one step; n positions in a row, beginning anywhere, lie in at most
        ⌈(n - 1) / BLOCK⌉ + 1 blocks.
        """
        shared, encoder = n_shared // BLOCK, math.ceil(n_encoder / BLOCK)
        whole = shared + n_seqs * (math.ceil(n_tokens / BLOCK) - shared)
        seen = [n_seqs * (math.ceil((window + self.n_batch - 2) / BLOCK) + 1) for window in self.windows]
        return [
            encoder if cross else min(whole, most) if window else whole
            for cross, window, most in zip(self.cross, self.windows, seen, strict=True)
        ]

    def first_visible(self, group: int, position: int) -> int:
        """Oldest block of a group that queries from this position on attend to."""
        window = self.windows[group]
        return max(0, position - window + 1) // BLOCK if window else 0

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Copy a block before the next step."""
        self._block_copies.append((group, src, dst))

    def take_slot(self, like: int | None = None) -> int:
        """Take a state slot; before the next step another slot is copied to it, if one is given.

        Raises
        ------
        RealizarError
            If every slot is taken. The scheduler admits only what fits, so a request never meets this.
        """
        if not self._free_slots:
            raise RealizarError("all state slots are taken; free a sequence, or ask for more n_seqs")
        slot = self._free_slots.pop()
        if like is not None:
            self._slot_copies.append((like, slot))
        return slot

    def free_slot(self, slot: int) -> None:
        """Free a state slot."""
        self._free_slots.append(slot)

    def keep_state(self, slot: int, name: bytes) -> None:
        """Before the next step, save the states of a slot as a snapshot with this key."""
        if name in self.snapshots:
            self.snapshots.use(name)
        elif (kept := self.snapshots.add(name)) is not None:
            self._slot_copies.append((slot, kept))

    def restore_state(self, slot: int, name: bytes) -> None:
        """Before the next step, copy the snapshot with this key to a slot."""
        self._slot_copies.append((self.snapshots.use(name), slot))

    def save_blocks(self, group: int, blocks: Seq[int]) -> dict[str, Array]:
        """Return a copy of the content of blocks of a group: arrays [n_blocks, ...] by name."""
        self.flush()
        return self.storage.save_blocks(group, blocks)

    def load_blocks(self, group: int, blocks: Seq[int], saved: Mapping[str, Array]) -> None:
        """Write to blocks what `save_blocks` returned."""
        self.flush()
        self.storage.load_blocks(group, blocks, saved)

    def save_slot(self, slot: int) -> dict[str, Array]:
        """Return a copy of the states in a slot, by name."""
        self.flush()
        return self.storage.save_slot(slot)

    def load_slot(self, slot: int, saved: Mapping[str, Array]) -> None:
        """Write to a slot what `save_slot` returned."""
        self.flush()
        self.storage.load_slot(slot, saved)

    def flush(self) -> None:
        """Make the pending copies in order: a block may be a target after being a source."""
        for group, src, dst in self._block_copies:
            self.storage.copy_block(group, src, dst)
        for src, dst in self._slot_copies:
            self.storage.copy_slot(src, dst)
        self._block_copies.clear()
        self._slot_copies.clear()
