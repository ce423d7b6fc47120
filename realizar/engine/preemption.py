"""Preemption: a request releases its cache blocks while it waits, and restores their content when it resumes.

Either the blocks are recomputed (`Recomputed`), or copied to host memory (`Swapped`). Both restore the same bits,
since keys, values and states of a token do not depend on the batch (decision 0003).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.sequence import NO_BLOCK
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    from realizar.engine.cache.kv_cache import KVCache
    from realizar.engine.cache.sequence import Sequence

USUAL_BYTES_PER_S = 2e9
"""Assumed copying speed of blocks before the first measurement."""
STEP_TOKENS = 16
"""Minimum number of tokens of a step that is used to measure the time of a prompt token."""


class _Group:
    """Sequences with a common prefix, and the trunk: a sequence that computes this prefix for all of them."""

    def __init__(self, members: Seq[Sequence]) -> None:
        self.members = members
        self.trunk: Sequence | None = None
        if len(members) > 1:
            n = min(seq.n_tokens for seq in members) - 1
            tokens = np.array([seq.tokens[:n] for seq in members])
            differs = np.flatnonzero((tokens != tokens[0]).any(axis=0))
            self.trunk = members[0].beginning(int(differs[0]) if len(differs) else n)

    @property
    def is_done(self) -> bool:
        """Whether every sequence is computed up to the rows of its next output."""
        return self.trunk is None and all(seq.n_left <= seq.n_last for seq in self.members)

    def next_chunk(self, budget: int) -> Chunk | None:
        """Return the next chunk, without outputs; None if the budget is too small."""
        if self.trunk is not None and not self.trunk.n_left:
            for seq in self.members[1:]:
                seq.share(self.trunk)
            self.members[0].take_over(self.trunk)
            self.trunk = None
        if self.trunk is not None:
            self.trunk.match_prefix()
            return _chunk(self.trunk, self.trunk.n_left, budget)
        for seq in self.members:
            if seq.n_left > seq.n_last:
                seq.match_prefix()
                return _chunk(seq, seq.n_left - seq.n_last, budget)
        return None


def _chunk(seq: Sequence, n: int, budget: int) -> Chunk | None:
    n = seq.cut(min(n, budget))
    return Chunk(seq, n, 0) if n else None


class Recomputed:
    """Recomputes the rows of several sequences of a preempted request.

    Their common prefix is computed once and shared, as before the preemption: separate copies might not fit.

    Parameters
    ----------
    texts : sequence of Sequence
        The sequences of unfinished completions.
    """

    def __init__(self, texts: Seq[Sequence]) -> None:
        self._groups = [_Group(members) for members in zip(*(seq.together for seq in texts), strict=True)]

    @property
    def is_done(self) -> bool:
        """Whether everything is recomputed."""
        return all(group.is_done for group in self._groups)

    @property
    def first(self) -> Sequence:
        """The sequence that reads the encoder input."""
        trunk = self._groups[0].trunk
        return self._groups[0].members[0] if trunk is None else trunk

    @property
    def trunks(self) -> list[Sequence]:
        """The sequences that compute a common prefix."""
        return [group.trunk for group in self._groups if group.trunk is not None]

    def next_chunks(self, budget: int) -> list[Chunk]:
        """Return the next chunks, at most one of each group."""
        chunks = []
        for group in self._groups:
            chunk = group.next_chunk(budget) if budget else None
            if chunk is not None:
                chunks.append(chunk)
                budget -= chunk.n_tokens
        return chunks

    def free(self) -> None:
        """Free the trunks; the request frees its own sequences."""
        for trunk in self.trunks:
            trunk.free()


class _Saved(NamedTuple):
    """A swapped sequence: for each group its blocks, as indices into the saved ones, and its state."""

    seq: Sequence
    tables: list[list[int]]
    n_computed: int
    encoder_computed: bool
    state: Any


class Swapped:
    """A copy of the blocks and states of sequences; shared blocks are copied once.

    Parameters
    ----------
    cache : KVCache
    seqs : sequence of Sequence
        All sequences of a request; the caller frees them.

    Attributes
    ----------
    n_blocks : list of int
        Blocks of each group.
    """

    def __init__(self, cache: KVCache, seqs: Seq[Sequence]) -> None:
        self._cache = cache
        held = [
            list(dict.fromkeys(block for seq in seqs for block in seq.tables[group] if block != NO_BLOCK))
            for group in range(len(cache.pools))
        ]
        number = [{block: i for i, block in enumerate(blocks)} | {NO_BLOCK: NO_BLOCK} for blocks in held]
        self.n_blocks = [len(blocks) for blocks in held]
        self._blocks = [cache.save_blocks(group, blocks) for group, blocks in enumerate(held)]
        self._saved = [
            _Saved(
                seq, [[number[group][block] for block in table] for group, table in enumerate(seq.tables)],
                seq.n_computed, seq.encoder_computed, None if seq.slot is None else cache.save_slot(seq.slot),
            )
            for seq in seqs
        ]  # fmt: skip

    def restore(self) -> None:
        """Restore the blocks and states; there must be room."""
        cache = self._cache
        blocks = [[pool.allocate() for _ in range(n)] for pool, n in zip(cache.pools, self.n_blocks, strict=True)]
        for group, own in enumerate(blocks):
            cache.load_blocks(group, own, self._blocks[group])
        for saved in self._saved:
            tables = [
                [NO_BLOCK if i == NO_BLOCK else own[i] for i in table]
                for own, table in zip(blocks, saved.tables, strict=True)
            ]  # fmt: skip
            saved.seq.restore(tables, saved.n_computed, saved.encoder_computed)
            if saved.state is not None:
                saved.seq.slot = cache.take_slot()
                cache.load_slot(saved.seq.slot, saved.state)
        for pool, own in zip(cache.pools, blocks, strict=True):
            for block in own:
                pool.free(block)  # the tables now have their own reference


class PreemptionCost:
    """Predicts whether recomputing blocks is faster than swapping them out and in.

    Attributes
    ----------
    n_bytes_kept : int
        Bytes of the present copies.
    """

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._token_s = float("inf")
        self._byte_s = 1 / USUAL_BYTES_PER_S
        self.n_bytes_kept = 0

    def learn_step(self, n_tokens: int, seconds: float) -> None:
        """Update the predictions with a measured step."""
        if n_tokens >= STEP_TOKENS:
            self._token_s = min(self._token_s, seconds / n_tokens)

    def n_bytes(self, n_blocks: Seq[int], n_slots: int) -> int:
        """Bytes of these numbers of blocks of each group and of state slots."""
        storage = self._cache.storage
        blocks = sum(n * storage.block_bytes(group) for group, n in enumerate(n_blocks))
        return blocks + n_slots * storage.slot_bytes

    def prefers_copy(self, n_tokens: int, n_bytes: int) -> bool:
        """Whether to copy instead of recomputing; all copies together take at most the cache's bytes."""
        if self.n_bytes_kept + n_bytes > self._cache.n_bytes:
            return False
        return 2 * n_bytes * self._byte_s < n_tokens * self._token_s

    def copied(self, cache: KVCache, seqs: Seq[Sequence]) -> Swapped:
        """Copy the blocks and states of sequences, and measure the time."""
        begin = time.perf_counter()
        swapped = Swapped(cache, seqs)
        n_bytes = self.n_bytes(swapped.n_blocks, sum(seq.slot is not None for seq in seqs))
        seconds = time.perf_counter() - begin
        if n_bytes and seconds > 0:
            self._byte_s += 0.3 * (seconds / n_bytes - self._byte_s)
        return swapped


def blocks_to_come(seq: Sequence) -> int:
    """Blocks that a sequence allocates, in a group without a window, until its next token."""
    return -(-(seq.n_tokens + 1) // BLOCK) - seq.n_computed // BLOCK
