"""Sequence: one history of tokens, and its blocks and state slot in the KV cache."""

from __future__ import annotations

from copy import copy
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.history import Hidden, History
from realizar.engine.cache.kv_cache import SNAPSHOT_TOKENS
from realizar.errors import ParameterError
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from realizar.engine.cache.block_pool import BlockPool
    from realizar.engine.cache.content import Content
    from realizar.engine.cache.kv_cache import KVCache

S = TypeVar("S", bound="Sequence")

NO_BLOCK = -1
"""Block table entry of rows that have left the sliding window of the group: the block was freed."""

_versions = count()


class Sequence(History):
    """Token ids; the KV cache holds the keys, values and states of the first `n_computed`.

    The life of a sequence: `match_prefix` shares the blocks of an earlier one with the same prefix; then, step by
    step, `reserve` makes room for some tokens, the model computes them, and `commit` records it. `append` adds tokens.
    `fork` and `truncate` may be called between steps; `free` ends it.

    Parameters
    ----------
    cache : KVCache
    tokens : iterable of int
        The prompt; 0 where embeddings enter.
    encoder_tokens : iterable of int
        The encoder input, which is computed in one step.
    content, adapter, program, adapter_from
        As for `History`.

    Attributes
    ----------
    encoder_tokens : int32 [n]
    encoder_computed : bool
        Whether the encoder input, if there is one, is computed.
    tables : list of list of int
        Per cache group, the block of rows 0..15, 16..31 and so on, of the encoder input in groups of that kind;
        `NO_BLOCK` where the sliding window has left it.
    table_version : int
        Changes whenever the tables do; unique among all sequences.
    slot : int | None
        State slot; None before the first `reserve`, or where the model has no states.
    draft_slot : int | None
        State slot of draft tokens; None before the first ones.
    n_replayed : int
        Rows after `n_computed` that were accepted as draft tokens, but whose state was not kept: the next step computes
        them again.
    hidden : Hidden | None
        With a draft block, hidden states of the last rows.
    n_computed : int
        Rows whose keys, values and states are in the cache.
    n_cached : int
        Rows that `match_prefix` found.

    Raises
    ------
    ContextFullError
        If the prompt, its positions or the encoder input do not fit into the cache's n_ctx.
    """

    def __init__(
        self, cache: KVCache, tokens: Iterable[int], encoder_tokens: Iterable[int] = (),
        content: Content | None = None, *, adapter: int = 0, program: str = "decode", adapter_from: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(cache.n_ctx, tokens, content, adapter, program, adapter_from)
        self.cache = cache
        self.n_computed = 0
        self.n_cached = 0
        self.tables: list[list[int]] = [[] for _ in cache.pools]
        self.table_version = next(_versions)
        self.slot: int | None = None
        self.draft_slot: int | None = None
        self.n_replayed = 0
        self.hidden: Hidden | None = None
        self.encoder_tokens = self._fitting(encoder_tokens)
        self.encoder_computed = len(self.encoder_tokens) == 0

    @property
    def n_left(self) -> int:
        """Number of rows that are not computed yet."""
        return self.n_tokens - self.n_computed

    @property
    def n_new(self) -> int:
        """Rows that were never computed."""
        return self.n_left - self.n_replayed

    @property
    def n_to_snapshot(self) -> int:
        """Draft tokens that fit before the next snapshot of a recurrent state, which is taken of accepted tokens."""
        return -self.n_tokens % SNAPSHOT_TOKENS if self.cache.states else self.room

    @property
    def together(self) -> tuple[Sequence, ...]:
        """The sequences that must be computed for its next token: itself."""
        return (self,)

    def match_prefix(self, most: int | None = None) -> None:
        """Share the longest prefix that the cache holds, in whole blocks and at most `most` rows (prefix caching).

        At least the last row is left to compute, since its output is wanted. n blocks can be shared if every group
        holds the blocks that row 16 n can see: all of them, or those of the window. With recurrent states there must
        be a snapshot of that point, too. A span is shared whole or not at all. With an encoder input nothing is shared:
        every key and value depends on it.
        """
        if self.slot is not None or any(self.tables) or len(self.encoder_tokens):
            return
        keys = self.block_keys((self.n_tokens - 1 if most is None else min(most, self.n_tokens - 1)) // BLOCK)
        found = [[pool.find(key) for key in keys] for pool in self.cache.pools]
        n = self._longest_match(keys, found)
        if n and self.cache.states:
            self.slot = self.cache.take_slot()
            self.cache.restore_state(self.slot, keys[n - 1])
        for group, pool in enumerate(self.cache.pools):
            first = self.cache.first_visible(group, n * BLOCK)
            blocks = [pool.share(block) for block in found[group][first:n] if block is not None]
            self.tables[group] = [NO_BLOCK] * first + blocks
        self.n_computed = self.n_cached = n * BLOCK
        self.table_version = next(_versions)

    def _longest_match(self, keys: list[bytes], found: list[list[int | None]]) -> int:
        """Number of blocks that can be shared, given their keys and the block (or None) of each key in each group."""
        fits = np.ones(len(keys) + 1, bool)
        if not found or self.cache.states:
            fits[1:] = [key in self.cache.snapshots for key in keys]
        for group, blocks in enumerate(found):
            run = 0  # blocks found without a gap, up to this one
            for i, block in enumerate(blocks):
                run = run + 1 if block is not None else 0
                fits[i + 1] &= run >= i + 1 - self.cache.first_visible(group, (i + 1) * BLOCK)
        if self.content is not None:
            fits &= [self.uncut(n * BLOCK) == n * BLOCK for n in range(len(fits))]
        return int(np.flatnonzero(fits)[-1])

    def whole_spans(self, n: int, most: int | None = None) -> int:
        """Return how many of the next rows to compute in one step: n, less a part of a span.

        A span that begins with the next row is computed as a whole; where it has more than `most` rows (by default n),
        nothing is.
        """
        span = None if self.content is None else self.content.span_across(self.n_computed + n)
        if span is None:
            return n
        first, end = span
        if first > self.n_computed:
            return first - self.n_computed
        return end - self.n_computed if end - self.n_computed <= (n if most is None else most) else 0

    def with_same_adapters(self, n: int) -> int:
        """Return how many of the next n rows have adapters, or how many have none."""
        return min(n, self.adapter_from - self.n_computed) if self.n_computed < self.adapter_from else n

    def cut(self, n: int) -> int:
        """Return how many of the next n rows to compute in one step: to a snapshot at most, and spans whole.

        0 where a span is next that has more rows. All have adapters, or none.
        """
        n = self.with_same_adapters(n)
        if not self.cache.states:
            return n if self.content is None else self.whole_spans(n)
        after = (self.n_computed // SNAPSHOT_TOKENS + 1) * SNAPSHOT_TOKENS
        ends = [end for end in (self._prompt_end, after) if end > self.n_computed]
        return self.whole_spans(min(n, min(ends) - self.n_computed), most=n)

    @property
    def _prompt_end(self) -> int:
        """Rows of the prompt in whole blocks, less the last row: the most that `match_prefix` may share."""
        return self.whole_blocks(self._n_prompt - 1)

    def reserve(self, n: int, has_drafts: bool = False) -> None:
        """Allocate the blocks for the next n rows, and a slot for the states of draft tokens if some of them are.

        Blocks are allocated where the table ends. A block that already exists holds earlier rows: if another sequence
        shares it, this one continues in a copy (copy on write); if not, it is evicted from the prefix cache, since it
        is about to change.
        """
        if self.cache.states and self.slot is None:
            self.slot = self.cache.take_slot()
        if has_drafts and self.cache.states and self.draft_slot is None:
            self.draft_slot = self.cache.take_slot()
        first, end = self.n_computed // BLOCK, -(-(self.n_computed + n) // BLOCK)
        for group, pool, table in self._own_groups():
            for i in range(first, end):
                if i == len(table):
                    table.append(pool.allocate())
                elif pool.ref_count(table[i]) > 1:
                    shared, table[i] = table[i], pool.allocate()
                    self.cache.copy_block(group, shared, table[i])
                    pool.free(shared)
                else:
                    pool.evict(table[i])
                    continue
                self.table_version = next(_versions)

    def reserve_encoder_input(self) -> None:
        """Allocate the blocks for the keys and values of the encoder input."""
        self.table_version = next(_versions)
        for pool, table, cross in zip(self.cache.pools, self.tables, self.cache.cross, strict=True):
            while cross and len(table) < -(-len(self.encoder_tokens) // BLOCK):
                table.append(pool.allocate())

    def _own_groups(self) -> Iterator[tuple[int, BlockPool, list[int]]]:
        """Number, pool and table of the groups that hold the sequence's own rows."""
        for group, (pool, table) in enumerate(zip(self.cache.pools, self.tables, strict=True)):
            if not self.cache.cross[group]:
                yield group, pool, table

    def commit(self, n: int) -> None:
        """Record that the next n rows are computed: cache the blocks they filled, free those that left the window."""
        self.n_replayed = max(0, self.n_replayed - n)
        first, self.n_computed = self.n_computed // BLOCK, self.n_computed + n
        n_full = self.n_computed // BLOCK
        if n_full > first:
            keys = self.block_keys(n_full)
            for _, pool, table in self._own_groups():
                for i in range(first, n_full):
                    pool.cache(table[i], keys[i])
        if self.slot is not None and n_full and self._is_snapshot(self.n_computed):
            self.cache.keep_state(self.slot, self.block_keys(n_full)[-1])
        if any(self.cache.windows):
            self._free_behind_windows()

    def commit_drafts(self, n: int, n_drafts: int, n_accepted: int) -> None:
        """Record that the next n rows and then n_drafts draft tokens are computed, of which the first are accepted.

        The states after all draft tokens are kept if all are accepted, else those before them.
        """
        if not self.cache.states:
            self.commit(n + n_accepted)
        elif n_accepted == n_drafts:
            self.slot, self.draft_slot = self.draft_slot, self.slot
            self.commit(n + n_accepted)
        else:
            self.commit(n)
            self.n_replayed = n_accepted

    def _free_behind_windows(self) -> None:
        for group, pool, table in self._own_groups():
            for i in range(self.cache.first_visible(group, self.n_computed) - 1, -1, -1):
                if table[i] == NO_BLOCK:
                    break
                pool.free(table[i])
                table[i] = NO_BLOCK
                self.table_version = next(_versions)

    def _is_snapshot(self, n: int) -> bool:
        return n % SNAPSHOT_TOKENS == 0 or n == self._prompt_end

    def chunks(self, budget: int) -> list[Chunk]:
        """Return the next rows, at most `budget`, as chunks; only the very last row has an output.

        Nothing where a span is next that needs a larger budget.
        """
        n = self.cut(min(self.n_left, budget))
        return [Chunk(self, n, int(n == self.n_left))] if n else []

    def fork(self: S, n_ahead: int = 0) -> S:
        """Return a sequence with the same history, to be continued independently.

        Both hold the same blocks; the first to write into the last one, which may be partly filled, copies it. The next
        n_ahead rows, which are being computed for this one, count as computed for the other.
        """
        other = copy(self)
        other._tokens = np.empty_like(self._tokens)
        other._tokens[: self.n_tokens] = self.tokens
        other._keys = self._keys.copy()
        other.draft_slot = None
        if self.slot is not None:
            other.slot = self.cache.take_slot(like=self.slot)
        other.tables = self._shared(self.tables)
        if n_ahead:
            other.commit(n_ahead)
        return other

    def _shared(self, tables: list[list[int]]) -> list[list[int]]:
        """Count one more reference to each block of some tables, and return a copy of the tables."""
        return [
            [block if block == NO_BLOCK else pool.share(block) for block in table]
            for pool, table in zip(self.cache.pools, tables, strict=True)
        ]

    def beginning(self, n: int) -> Sequence:
        """Return a sequence of the first n rows, or fewer, with the same encoder input; none of it is computed."""
        other = Sequence.__new__(Sequence)
        other.__dict__.update(self.__dict__)
        other._tokens, other._keys = self._tokens.copy(), self._keys.copy()
        other._forget_rows(self.uncut(n))
        other.tables, other.slot, other.draft_slot = [[] for _ in self.cache.pools], None, None
        other.table_version = next(_versions)
        other.n_computed = other.n_cached = other.n_replayed = 0
        other.encoder_computed = len(self.encoder_tokens) == 0
        return other

    def share(self, other: Sequence) -> None:
        """Share the blocks of another sequence, a prefix of this one; this one must hold none."""
        self.restore(other.tables, other.n_computed, other.encoder_computed)
        self.hidden = other.hidden
        if other.slot is not None:
            self.slot = self.cache.take_slot(like=other.slot)

    def take_over(self, other: Sequence) -> None:
        """Move the blocks and the slot of another sequence, a prefix of this one, to this one."""
        self.restore(other.tables, other.n_computed, other.encoder_computed)
        self.slot, other.slot, self.hidden = other.slot, None, other.hidden
        Sequence.free(other)

    def restore(self, tables: list[list[int]], n_computed: int, encoder_computed: bool) -> None:
        """Take these blocks, with n_computed computed rows; the sequence must hold none before."""
        self.n_computed, self.encoder_computed, self.n_replayed = n_computed, encoder_computed, 0
        keys = self.block_keys(n_computed // BLOCK)
        self.tables = self._shared(tables)
        self.table_version = next(_versions)
        for _, pool, table in self._own_groups():
            for block, key in zip(table, keys, strict=False):
                if block != NO_BLOCK:
                    pool.cache(block, key)

    def truncate(self, n: int) -> None:
        """Drop all rows after the first n.

        The cached part of those n rows is kept if it has all that the next row can see. A recurrent state goes back to
        the last snapshot before them, and a span that is cut is computed again; where nothing can be kept, all n rows
        are.

        Raises
        ------
        ParameterError
            If the sequence has fewer than n rows.
        """
        if not 0 <= n <= self.n_tokens:
            raise ParameterError(f"truncate({n}): must be in [0, {self.n_tokens}], the tokens of the sequence")
        whole = self.uncut(n)
        self._forget_rows(n)
        self.n_replayed, self.hidden = 0, None
        if whole >= self.n_computed:
            return
        known = self._known(whole)
        if not known:
            self.free()
            return
        for _, pool, table in self._own_groups():
            while len(table) > -(-known // BLOCK):
                pool.free(table.pop())
        if self.slot is not None:
            self.cache.restore_state(self.slot, self._keys[known // BLOCK - 1])
        self.n_computed = known
        self.table_version = next(_versions)

    def _known(self, n: int) -> int:
        """How many of the first n rows, all computed before, are still completely in the cache."""
        ends = [n]
        if self.cache.states:
            keys = self.block_keys(n // BLOCK)
            ends = [i * BLOCK for i in range(len(keys), 0, -1) if keys[i - 1] in self.cache.snapshots]
        for end in ends:
            seen = (table[self.cache.first_visible(group, end) :] for group, table in enumerate(self.tables))
            if not any(NO_BLOCK in blocks for blocks in seen):
                return end
        return 0

    def free(self) -> None:
        """Free blocks and slot; the tokens and the encoder input stay, and must be recomputed.

        Blocks are given back last first, so that the end of a prefix is overwritten before its beginning.
        """
        for pool, table in zip(self.cache.pools, self.tables, strict=True):
            for block in reversed(table):
                if block != NO_BLOCK:
                    pool.free(block)
            table.clear()
        for slot in (self.slot, self.draft_slot):
            if slot is not None:
                self.cache.free_slot(slot)
        self.slot = self.draft_slot = None
        self.n_computed = self.n_cached = self.n_replayed = 0
        self.encoder_computed = len(self.encoder_tokens) == 0
        self.table_version = next(_versions)
