"""SavedCache: the blocks and states of a sequence's first rows in host memory, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.errors import ContextFullError, RealizarError
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from realizar.engine.cache.kv_cache import KVCache
    from realizar.engine.cache.sequence import Sequence

    Array = npt.NDArray[Any]

STATE = ".state"
"""End of the names of recurrent states, which no name of keys or values has."""


class SavedCache(NamedTuple):
    """The first rows of a sequence, in whole blocks.

    Attributes
    ----------
    tokens : int32 [n_tokens]
        Token ids of the rows; 0 where embeddings enter.
    keys : list of bytes
        Key of each block in the prefix cache.
    arrays : dict of str to array
        Keys and values, [n_blocks, ...] of the blocks that the next row can see: all, or those of the window; and
        recurrent states after the last row.
    """

    tokens: npt.NDArray[np.int32]
    keys: list[bytes]
    arrays: dict[str, Array]

    @property
    def token_ids(self) -> list[int]:
        """The tokens as a list."""
        found: list[int] = self.tokens.tolist()
        return found

    @property
    def n_tokens(self) -> int:
        """Number of rows."""
        return len(self.keys) * BLOCK

    @classmethod
    def take(cls, seq: Sequence) -> SavedCache:
        """Copy the blocks of a sequence all of whose rows are computed, and are whole blocks."""
        cache, n = seq.cache, seq.n_computed
        arrays: dict[str, Array] = {}
        for group, table in enumerate(seq.tables):
            arrays |= cache.save_blocks(group, table[cache.first_visible(group, n) :])
        if seq.slot is not None:
            arrays |= {name + STATE: state for name, state in cache.save_slot(seq.slot).items()}
        return cls(seq.tokens[:n].copy(), list(seq.block_keys(n // BLOCK)), arrays)

    def put(self, cache: KVCache) -> None:
        """Put the blocks into the prefix cache, where sequences with the same rows find them; there must be room.

        Raises
        ------
        RealizarError
            If the cache keeps no snapshots of recurrent states, since these are too large.
        """
        if cache.states:
            self._put_state(cache)
        for group, pool in enumerate(cache.pools):
            keys = self.keys[cache.first_visible(group, self.n_tokens) :]
            known = {key: block for key in keys if (block := pool.find(key)) is not None}
            held = [pool.share(block) for block in known.values()]
            new = [i for i, key in enumerate(keys) if key not in known]
            fresh = []
            try:
                fresh = [pool.allocate() for _ in new]
                arrays = {name: self.arrays[name][new] for name in cache.save_blocks(group, [])}
                cache.load_blocks(group, fresh, arrays)
                for i, block in zip(new, fresh, strict=True):
                    pool.cache(block, keys[i])
            finally:
                for block in reversed(held + fresh):  # the end of a prefix is overwritten before its beginning
                    pool.free(block)

    def _put_state(self, cache: KVCache) -> None:
        key, states = self.keys[-1], {name.removesuffix(STATE): array for name, array in self.arrays.items()}
        if key in cache.snapshots:
            cache.snapshots.use(key)
            return
        slot = cache.snapshots.add(key)
        if slot is None:
            raise RealizarError(
                f"recurrent states of {cache.storage.slot_bytes >> 20} MiB are too large for snapshots, so that no "
                "prompt can continue from this file"
            )
        cache.load_slot(slot, states)


def layout(cache: KVCache, n_blocks: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return type and shape of each array of a SavedCache of so many blocks.

    Raises
    ------
    ContextFullError
        If a sequence of this cache cannot have so many.
    """
    n = n_blocks * BLOCK
    if n > cache.n_ctx:
        raise ContextFullError(f"{n} saved tokens do not fit into the context of {cache.n_ctx}; ask for more n_ctx")
    found = {}
    for group in range(len(cache.pools)):
        n_visible = n_blocks - cache.first_visible(group, n)
        for name, array in cache.save_blocks(group, []).items():
            found[name] = (array.dtype, (n_visible, *array.shape[1:]))
    if cache.states:
        found |= {name + STATE: (array.dtype, array.shape) for name, array in cache.save_slot(0).items()}
    return found
