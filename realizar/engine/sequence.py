"""Sequence: one history of tokens, and where in the cache its keys, values and states are."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from realizar.engine.block_pool import ROOT, chain_hash
from realizar.engine.snapshots import SNAPSHOT_TOKENS
from realizar.errors import ContextFullError, ParameterError
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from realizar.engine.block_pool import BlockPool
    from realizar.engine.kv_cache import KVCache

S = TypeVar("S", bound="Sequence")
GONE = -1
"""Table entry of a block that fell behind the window of its group."""


NO_DRAFTS: npt.NDArray[np.int32] = np.empty(0, np.int32)


class Chunk(NamedTuple):
    """The part of a sequence that one step computes: its next n_tokens; the last n_outputs of them give outputs.

    Or its source, as a whole, by the model's encoder. The last of the n_tokens may be `drafts`, int32 [n_drafts], which
    are no part of the sequence, but may follow it.
    """

    seq: Sequence
    n_tokens: int
    n_outputs: int
    is_source: bool = False
    drafts: npt.NDArray[np.int32] = NO_DRAFTS

    @property
    def n_past(self) -> int:
        """Tokens in front of these."""
        return 0 if self.is_source else self.seq.n_computed

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """Token ids: int32 [n_tokens]."""
        tokens = self.seq.source if self.is_source else self.seq.tokens[self.n_past :][: self.n_tokens]
        return np.concatenate([tokens, self.drafts]) if len(self.drafts) else tokens

    def reserve(self) -> None:
        """Make sure that what is computed can be written."""
        if self.is_source:
            self.seq.reserve_source()
        else:
            self.seq.reserve(self.n_tokens)

    def fork(self) -> Sequence:
        """Return a sequence with the same history in which it is computed already, while it goes on from its output."""
        return self.seq.fork(self.n_tokens)

    def commit(self) -> None:
        """Note that it is computed; of drafts, those that the sequence has come to follow."""
        if self.is_source:
            self.seq.source_computed = True
        else:
            self.seq.commit(self.n_tokens - self._n_rejected() if len(self.drafts) else self.n_tokens)

    def _n_rejected(self) -> int:
        end = self.n_past + self.n_tokens
        followed = self.seq.tokens[end - len(self.drafts) : end]
        others = np.flatnonzero(followed != self.drafts[: len(followed)])
        return len(self.drafts) - (int(others[0]) if len(others) else len(followed))


class Sequence:
    """Token ids, of which the cache knows the first `n_computed`.

    The life of a sequence: `match_prefix` takes over what an earlier one computed; then, step by step, `reserve`
    makes room for some tokens, the model computes them, and `commit` says so. Tokens are added with `append`.
    `fork` and `truncate` may be called between steps; `free` ends it.

    Parameters
    ----------
    cache : KVCache
        Where it lives.
    tokens : iterable of int
        The prompt.
    source : iterable of int
        The text that it answers to, or that is to be encoded: what an encoder reads, at once and as a whole.

    Attributes
    ----------
    source : int32 [n_source]
    source_computed : bool
        Whether an encoder has read the source, if there is one.
    tables : list of list of int
        Per cache group, the block of tokens 0..15, 16..31 and so on, of the source in groups of that kind; `GONE`
        behind the window.
    slot : int | None
        State slot; None before the first `reserve`, or where the model has no states.
    n_computed : int
        Tokens whose keys, values and states are in the cache.
    n_cached : int
        Tokens that `match_prefix` found.

    Raises
    ------
    ContextFullError
        If the prompt or the source is longer than the cache's n_ctx.
    """

    def __init__(self, cache: KVCache, tokens: Iterable[int], source: Iterable[int] = ()) -> None:
        self.cache = cache
        # One more than the context: the last token generated is given out but never computed.
        self._tokens = np.empty(cache.n_ctx + 1, np.int32)
        self.n_tokens = 0
        self.n_computed = 0
        self.n_cached = 0
        self._n_prompt = 0
        self.tables: list[list[int]] = [[] for _ in cache.pools]
        self.slot: int | None = None
        self._names: list[bytes] = []
        self.source = self._fitting(source)
        self.source_computed = len(self.source) == 0
        self._extend(self._fitting(tokens))

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """Token ids: int32 [n_tokens], a view."""
        return self._tokens[: self.n_tokens]

    @property
    def n_left(self) -> int:
        """Tokens that are still to be computed."""
        return self.n_tokens - self.n_computed

    @property
    def together(self) -> tuple[Sequence, ...]:
        """The sequences that its next token needs: itself."""
        return (self,)

    @property
    def is_full(self) -> bool:
        """Whether the context has no room to compute one more token."""
        return self.n_tokens > self.cache.n_ctx

    def append(self, token: int) -> None:
        """Add a token that the cache does not know yet.

        Raises
        ------
        ContextFullError
            If the sequence is full.
        """
        if self.is_full:
            raise ContextFullError(f"the sequence fills the context of {self.cache.n_ctx} tokens; ask for more n_ctx")
        self._tokens[self.n_tokens] = token
        self.n_tokens += 1

    def _fitting(self, tokens: Iterable[int]) -> npt.NDArray[np.int32]:
        ids = np.fromiter(tokens, np.int32)
        if len(ids) > self.cache.n_ctx:
            raise ContextFullError(
                f"{len(ids)} tokens do not fit into the context of {self.cache.n_ctx}; "
                "shorten them or ask for more n_ctx"
            )
        return ids

    def _extend(self, tokens: npt.NDArray[np.int32]) -> None:
        self._tokens[: len(tokens)] = tokens
        self.n_tokens = self._n_prompt = len(tokens)

    def match_prefix(self, most: int | None = None) -> None:
        """Take over the longest beginning that the cache still holds, in whole blocks and at most so many tokens.

        At least the last token is left to be computed, since its logits are wanted. n blocks can be taken over if,
        in every group, the blocks that token 16 n can see are there: all of them, or those of the window. With
        recurrent states there must be a snapshot of that point, too. With a source nothing is taken over: every key
        and value depends on it.
        """
        if self.slot is not None or any(self.tables) or len(self.source):
            return
        names = self._chain((self.n_tokens - 1 if most is None else min(most, self.n_tokens - 1)) // BLOCK)
        found = [[pool.find(name) for name in names] for pool in self.cache.pools]
        n = self._longest_match(names, found)
        if n and self.cache.states:
            self.slot = self.cache.take_slot()
            self.cache.restore_state(self.slot, names[n - 1])
        for group, pool in enumerate(self.cache.pools):
            first = self.cache.first_visible(group, n * BLOCK)
            blocks = [pool.share(block) for block in found[group][first:n] if block is not None]
            self.tables[group] = [GONE] * first + blocks
        self.n_computed = self.n_cached = n * BLOCK

    def _longest_match(self, names: list[bytes], found: list[list[int | None]]) -> int:
        """Blocks that can be taken over, given their names and the block (or None) of each name in each group."""
        fits = np.ones(len(names) + 1, bool)
        if not found or self.cache.states:
            fits[1:] = [name in self.cache.snapshots for name in names]
        for group, blocks in enumerate(found):
            run = 0  # blocks found without a gap, up to this one
            for i, block in enumerate(blocks):
                run = run + 1 if block is not None else 0
                fits[i + 1] &= run >= i + 1 - self.cache.first_visible(group, (i + 1) * BLOCK)
        return int(np.flatnonzero(fits)[-1])

    def cut(self, n: int) -> int:
        """Return how many of the next n tokens to compute in one step, which is to end where a snapshot is taken."""
        if not self.cache.states:
            return n
        after = (self.n_computed // SNAPSHOT_TOKENS + 1) * SNAPSHOT_TOKENS
        ends = [end for end in (self._prompt_end, after) if end > self.n_computed]
        return min(n, min(ends) - self.n_computed)

    @property
    def _prompt_end(self) -> int:
        """Tokens of the prompt in whole blocks, less the last token: as many as `match_prefix` may take over."""
        return (self._n_prompt - 1) // BLOCK * BLOCK

    def reserve(self, n: int) -> None:
        """Make sure that the next n tokens can be written.

        Blocks are allocated where the table ends. One that is there already holds tokens before them: if another
        sequence holds it too, this one goes on in a copy; if not, the block is about to change and loses its name.
        """
        if self.cache.states and self.slot is None:
            self.slot = self.cache.take_slot()
        for group, pool, table in self._own_groups():
            for i in range(self.n_computed // BLOCK, -(-(self.n_computed + n) // BLOCK)):
                if i == len(table):
                    table.append(pool.allocate())
                elif pool.holders(table[i]) > 1:
                    shared, table[i] = table[i], pool.allocate()
                    self.cache.copy_block(group, shared, table[i])
                    pool.free(shared)
                else:
                    pool.forget(table[i])

    def reserve_source(self) -> None:
        """Make sure that what the encoder gives of the source can be written."""
        for pool, table, cross in zip(self.cache.pools, self.tables, self.cache.cross, strict=True):
            while cross and len(table) < -(-len(self.source) // BLOCK):
                table.append(pool.allocate())

    def _own_groups(self) -> Iterator[tuple[int, BlockPool, list[int]]]:
        """Number, pool and table of the groups that hold the sequence's own tokens."""
        for group, (pool, table) in enumerate(zip(self.cache.pools, self.tables, strict=True)):
            if not self.cache.cross[group]:
                yield group, pool, table

    def commit(self, n: int) -> None:
        """Note that the next n tokens are computed: name the blocks they filled, free those behind the window."""
        first, self.n_computed = self.n_computed // BLOCK, self.n_computed + n
        n_full = self.n_computed // BLOCK
        names = self._chain(n_full)
        if self.slot is not None and n_full and self._is_snapshot(self.n_computed):
            self.cache.keep_state(self.slot, names[-1])
        for group, pool, table in self._own_groups():
            for i in range(first, n_full):
                pool.name(table[i], names[i])
            for i in range(self.cache.first_visible(group, self.n_computed) - 1, -1, -1):
                if table[i] == GONE:
                    break
                pool.free(table[i])
                table[i] = GONE

    def _is_snapshot(self, n: int) -> bool:
        return n % SNAPSHOT_TOKENS == 0 or n == self._prompt_end

    def _chain(self, n_blocks: int) -> list[bytes]:
        """Names of the first n_blocks blocks; each is computed once."""
        for i in range(len(self._names), n_blocks):
            parent = self._names[i - 1] if i else ROOT
            self._names.append(chain_hash(parent, self._tokens[i * BLOCK : (i + 1) * BLOCK]))
        return self._names[:n_blocks]

    def chunks(self, budget: int) -> list[Chunk]:
        """Return the next tokens, at most `budget`, as what to compute; the very last one gives an output."""
        n = self.cut(min(self.n_left, budget))
        return [Chunk(self, n, int(n == self.n_left))]

    def fork(self: S, n_ahead: int = 0) -> S:
        """Return a sequence with the same history that goes its own way from here.

        It holds the same blocks; whoever first writes into the last one, which may be partly filled, copies it. With
        n_ahead the next tokens, which are being computed for this one, are as computed for the other.
        """
        other = copy(self)
        other._tokens = np.empty_like(self._tokens)
        other._tokens[: self.n_tokens] = self.tokens
        other._names = self._names.copy()
        if self.slot is not None:
            other.slot = self.cache.take_slot(like=self.slot)
        other.tables = [
            [block if block == GONE else pool.share(block) for block in table]
            for pool, table in zip(self.cache.pools, self.tables, strict=True)
        ]
        if n_ahead:
            other.commit(n_ahead)
        return other

    def beginning(self, n: int) -> Sequence:
        """Return a sequence of the first n tokens, behind the same encoder input, of which nothing is computed."""
        other = Sequence.__new__(Sequence)
        other.__dict__.update(self.__dict__)
        other._tokens = self._tokens.copy()
        other._names = self._names[: n // BLOCK]
        other.n_tokens, other._n_prompt = n, min(n, self._n_prompt)
        other.tables, other.slot = [[] for _ in self.cache.pools], None
        other.n_computed = other.n_cached = 0
        other.source_computed = len(self.source) == 0
        return other

    def share(self, other: Sequence) -> None:
        """Hold the same blocks as another sequence, whose tokens this one begins with; hold nothing before."""
        self.restore(other.tables, other.n_computed, other.source_computed)
        if other.slot is not None:
            self.slot = self.cache.take_slot(like=other.slot)

    def take_over(self, other: Sequence) -> None:
        """Hold instead of another sequence, whose tokens this one begins with, what that holds."""
        self.restore(other.tables, other.n_computed, other.source_computed)
        self.slot, other.slot = other.slot, None
        Sequence.free(other)

    def restore(self, tables: list[list[int]], n_computed: int, source_computed: bool) -> None:
        """Become a holder of these blocks, in which so many tokens are computed; hold nothing before."""
        self.n_computed, self.source_computed = n_computed, source_computed
        names = self._chain(n_computed // BLOCK)
        self.tables = [
            [block if block == GONE else pool.share(block) for block in table]
            for pool, table in zip(self.cache.pools, tables, strict=True)
        ]
        for _, pool, table in self._own_groups():
            for block, name in zip(table, names, strict=False):
                if block != GONE:
                    pool.name(block, name)

    def truncate(self, n: int) -> None:
        """Forget all tokens after the first n.

        What the cache knows of those n stays, if it knows all that the next token can see; of a recurrent state, what
        the last snapshot before knows. Where nothing is known that far back, all n tokens are to be computed again.

        Raises
        ------
        ParameterError
            If the sequence has fewer than n tokens.
        """
        if not 0 <= n <= self.n_tokens:
            raise ParameterError(f"truncate({n}): must be in [0, {self.n_tokens}], the tokens of the sequence")
        self.n_tokens, self._n_prompt = n, min(n, self._n_prompt)
        del self._names[n // BLOCK :]
        if n >= self.n_computed:
            return
        known = self._known(n)
        if not known:
            self.free()
            return
        for _, pool, table in self._own_groups():
            while len(table) > -(-known // BLOCK):
                pool.free(table.pop())
        if self.slot is not None:
            self.cache.restore_state(self.slot, self._names[known // BLOCK - 1])
        self.n_computed = known

    def _known(self, n: int) -> int:
        """How many of the first n tokens, all of them computed once, the cache still knows all of."""
        ends = [n]
        if self.cache.states:
            names = self._chain(n // BLOCK)
            ends = [i * BLOCK for i in range(len(names), 0, -1) if names[i - 1] in self.cache.snapshots]
        for end in ends:
            seen = (table[self.cache.first_visible(group, end) :] for group, table in enumerate(self.tables))
            if not any(GONE in blocks for blocks in seen):
                return end
        return 0

    def free(self) -> None:
        """Give blocks and slot back; the tokens stay, all to be computed again, and so does the source.

        Blocks are given back last first, so that of a prefix its end is the first to be overwritten.
        """
        for pool, table in zip(self.cache.pools, self.tables, strict=True):
            for block in reversed(table):
                if block != GONE:
                    pool.free(block)
            table.clear()
        if self.slot is not None:
            self.cache.free_slot(self.slot)
        self.slot = None
        self.n_computed = self.n_cached = 0
        self.source_computed = len(self.source) == 0
