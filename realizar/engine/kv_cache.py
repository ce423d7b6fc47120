"""KVCache: the memory in which sequences keep their keys, values and recurrent states."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar._kernels.kv import kv_bytes
from realizar.engine.block_pool import BlockPool
from realizar.engine.snapshots import SNAPSHOT_BYTES, SNAPSHOT_TOKENS, Snapshots
from realizar.errors import ParameterError, RealizarError
from realizar.params import kv_types
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.graph import State
    from realizar.params import EngineParams
    from realizar.runtime.plan import CacheGroup

    Array = npt.NDArray[Any]


class LayerCache(NamedTuple):
    """One cache: k and v, each uint8 [n_blocks, n_head_kv, kv_bytes(its type, its head_dim)]; see docs/kernels.md.

    Of kind "latent" they are the same memory: V is a part of K.
    """

    key: str
    k: Array
    v: Array

    @property
    def n_bytes(self) -> int:
        """Bytes of both, touched or not; what they share counts once."""
        return self.k.nbytes + (0 if np.shares_memory(self.k, self.v) else self.v.nbytes)


class LayerState(NamedTuple):
    """One recurrent state of one layer: float32 [n_slots, *shape]."""

    key: str
    data: Array


class KVCache:
    """Keys, values and recurrent states of every sequence, in blocks and slots.

    Layers that remember alike (the same kind and window) form a group. A block of a group holds BLOCK tokens of all
    its layers, so a sequence needs one table per group. K is kept transposed inside a block: neither the product
    with a query nor the sum over values then adds across a vector. The blocks of a head lie side by side: attention
    reads one head at a time, and a prefetcher would bring in what stands between, a fifth of the speed of decoding.

    A recurrent state cannot be cut into blocks: a sequence has one slot for it. It cannot go back either, so copies of
    it are kept in further slots (`Snapshots`).

    The arrays are not cleared, so memory that no sequence has used is address space and no more. Nobody reads what
    was not written: keys that are masked are skipped, and a state begins from zero where nothing came before.

    Parameters
    ----------
    groups : sequence of CacheGroup
        What the plan's attentions remember.
    states : sequence of State
        What its recurrences remember.
    params : EngineParams
        kv_type, n_seqs, n_batch and n_ctx (which must be given).

    Attributes
    ----------
    layers : list of LayerCache
        In the order of the groups.
    states : list of LayerState
    pools : list of BlockPool
        One per group.
    snapshots : Snapshots
        Where states are kept for other sequences.
    windows : list of int
        Tokens that a query of the group sees, itself included; 0 is all.
    cross : list of bool
        Whether a group holds the source that a sequence answers to, and not its own tokens.
    max_seqs : int
        Sequences that may be computed at once: each needs a row of the step, and a slot where there are states.

    Raises
    ------
    ParameterError
        If there is not that much memory.
    """

    def __init__(self, groups: Seq[CacheGroup], states: Seq[State], params: EngineParams) -> None:
        if params.n_ctx is None:
            raise RealizarError("a KVCache needs n_ctx; take the model's own where the user gave none")
        self.n_ctx = params.n_ctx
        self.n_batch = params.n_batch
        self._n_seqs = params.n_seqs
        self.windows = [group.window for group in groups]
        self.cross = [group.kind == "cross" for group in groups]
        self.pools = [BlockPool(params.n_seqs * n) for n in self.blocks_needed(self.n_ctx, self.n_ctx)]
        self.max_seqs = min(params.n_seqs, self.n_batch) if states else self.n_batch
        n_slots = self.max_seqs if states else 0
        n_snapshots = self._n_snapshots(sum(4 * math.prod(at.shape) for at in states), params.n_seqs)
        k_type, v_type = kv_types(params.kv_type)
        self.layers: list[LayerCache] = []
        self._layers_of: list[slice] = []
        for group, pool in zip(groups, self.pools, strict=True):
            self._layers_of.append(slice(len(self.layers), len(self.layers) + len(group.layers)))
            for at in group.layers:
                k = _untouched((at.n_head_kv, pool.n_blocks, kv_bytes(k_type, at.head_dim_k)), np.dtype(np.uint8))
                v = k
                if group.kind != "latent":
                    v = _untouched((at.n_head_kv, pool.n_blocks, kv_bytes(v_type, at.head_dim_v)), np.dtype(np.uint8))
                self.layers.append(LayerCache(at.key, k.swapaxes(0, 1), v.swapaxes(0, 1)))
        shapes = {at.key: (n_slots + n_snapshots, *at.shape) for at in states}
        self.states = [LayerState(key, _untouched(shape, np.dtype(np.float32))) for key, shape in shapes.items()]
        self.snapshots = Snapshots(range(n_slots, n_slots + n_snapshots))
        self._free_slots = list(reversed(range(n_slots)))
        self._block_copies: list[tuple[int, int, int]] = []
        self._slot_copies: list[tuple[int, int]] = []

    def _n_snapshots(self, slot_bytes: int, n_seqs: int) -> int:
        """As many as n_seqs sequences leave behind, one each SNAPSHOT_TOKENS and one more, if they fit the budget."""
        return min(n_seqs * (self.n_ctx // SNAPSHOT_TOKENS + 1), SNAPSHOT_BYTES // slot_bytes) if slot_bytes else 0

    def n_bytes_for(self, n_seqs: int) -> int:
        """Bytes of all arrays of a cache like this one for so many sequences."""
        slot: int = sum(at.data[0].nbytes for at in self.states)
        slots = min(n_seqs, self.n_batch) + self._n_snapshots(slot, n_seqs)
        blocks: int = sum(at.n_bytes for at in self.layers)
        return blocks * n_seqs // self._n_seqs + slots * slot

    @property
    def n_bytes(self) -> int:
        """Bytes of all arrays, touched or not."""
        return sum(at.n_bytes for at in self.layers) + sum(s.data.nbytes for s in self.states)

    def blocks_needed(self, n_tokens: int, n_source: int = 0, n_seqs: int = 1, n_shared: int = 0) -> list[int]:
        """Blocks per group that a sequence of n_tokens, with a source of n_source, holds at most while it is computed.

        Or that n_seqs of them hold, whose sources and first n_shared tokens are the same ones. In a group with a window
        each holds those of the window and of one step; n positions in a row, beginning anywhere, lie in at most
        ⌈(n - 1) / BLOCK⌉ + 1 blocks.
        """
        shared, source = n_shared // BLOCK, math.ceil(n_source / BLOCK)
        whole = shared + n_seqs * (math.ceil(n_tokens / BLOCK) - shared)
        seen = [n_seqs * (math.ceil((window + self.n_batch - 2) / BLOCK) + 1) for window in self.windows]
        return [
            source if cross else min(whole, most) if window else whole
            for cross, window, most in zip(self.cross, self.windows, seen, strict=True)
        ]

    def first_visible(self, group: int, position: int) -> int:
        """Oldest block of a group that a query at this position or later may look into."""
        window = self.windows[group]
        return max(0, position - window + 1) // BLOCK if window else 0

    def copy_block(self, group: int, src: int, dst: int) -> None:
        """Ask for a block to be copied before the next step."""
        self._block_copies.append((group, src, dst))

    def take_slot(self, like: int | None = None) -> int:
        """Take a state slot; before the next step it becomes equal to another one, if that is asked for.

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
        """Give a state slot back."""
        self._free_slots.append(slot)

    def keep_state(self, slot: int, name: bytes) -> None:
        """Before the next step, keep what a slot holds as a snapshot of this name."""
        if name in self.snapshots:
            self.snapshots.use(name)
        elif (kept := self.snapshots.add(name)) is not None:
            self._slot_copies.append((slot, kept))

    def restore_state(self, slot: int, name: bytes) -> None:
        """Before the next step, let a slot hold the snapshot of this name."""
        self._slot_copies.append((self.snapshots.use(name), slot))

    def block_bytes(self, group: int) -> int:
        """Bytes of a block of a group, of all its layers."""
        layers = self.layers[self._layers_of[group]]
        return sum(at.n_bytes for at in layers) // self.pools[group].n_blocks

    @property
    def slot_bytes(self) -> int:
        """Bytes of the states of one sequence."""
        return sum(data[0].nbytes for _, data in self.states)

    def save_blocks(self, group: int, blocks: Seq[int]) -> list[tuple[Array, Array]]:
        """Return a copy of what some blocks of a group hold, layer by layer."""
        self.flush()
        found = []
        for _, k, v in self.layers[self._layers_of[group]]:
            saved = k[list(blocks)]
            found.append((saved, saved if np.shares_memory(k, v) else v[list(blocks)]))
        return found

    def load_blocks(self, group: int, blocks: Seq[int], saved: list[tuple[Array, Array]]) -> None:
        """Let blocks hold again what `save_blocks` returned."""
        self.flush()
        for (_, k, v), (k_saved, v_saved) in zip(self.layers[self._layers_of[group]], saved, strict=True):
            k[list(blocks)] = k_saved
            if v_saved is not k_saved:
                v[list(blocks)] = v_saved

    def save_slot(self, slot: int) -> list[Array]:
        """Return a copy of the states in a slot."""
        self.flush()
        return [data[slot].copy() for _, data in self.states]

    def load_slot(self, slot: int, saved: list[Array]) -> None:
        """Let a slot hold again what `save_slot` returned."""
        self.flush()
        for (_, data), state in zip(self.states, saved, strict=True):
            data[slot] = state

    def flush(self) -> None:
        """Make the copies asked for, in the order they were asked for: a block may be a target after being a source."""
        for group, src, dst in self._block_copies:
            for _, k, v in self.layers[self._layers_of[group]]:
                k[dst] = k[src]
                v[dst] = v[src]
        for src, dst in self._slot_copies:
            for _, data in self.states:
                data[dst] = data[src]
        self._block_copies.clear()
        self._slot_copies.clear()


def _untouched(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array whose pages nobody has touched; they go back to the system with it.

    Pages of its own and no `np.empty`: malloc keeps for itself what it has once been given back (of SmolLM2 250 MiB),
    and numpy asks for huge pages, so that the first token, with one block in each head's row, would touch most of the
    cache: of phi-2 2.5 GiB, 0.3 s. Without them a step of Llama-3.2-1B behind 4096 tokens takes 1.4 % longer.
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    try:
        pages = _pages(max(n_bytes, 1))
    except (OSError, OverflowError, ValueError):  # the last two: more bytes than there are addresses
        raise ParameterError(
            f"the cache needs {n_bytes / 2**30:.1f} GiB in one piece, which cannot be had; ask for less n_ctx or n_seqs"
        ) from None
    return np.frombuffer(pages, np.uint8, n_bytes).view(dtype).reshape(shape)


def _pages(n_bytes: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # a child of fork() has its own
