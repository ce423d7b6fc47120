"""BlockPool: reference counts of KV cache blocks, and the free ones that the prefix cache can still find."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING

from realizar.errors import CacheFullError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

KEY_BYTES = 16


@lru_cache(64)
def chain_root(program: str, adapter: int = 0) -> bytes:
    """Return the parent key of a sequence's first block: that of a program and of a low-rank adapter, 0 for none."""
    return hashlib.blake2b(f"{adapter} {program}".encode(), digest_size=KEY_BYTES).digest()


def chain_hash(parent: bytes, tokens: npt.NDArray[np.int32], content: bytes = b"") -> bytes:
    """Return the key of a full block: a hash of what its rows hold and of everything before it.

    Two blocks have one key only if their whole histories are equal: the hash is cryptographic (BLAKE2b, 128 bits),
    so that collisions need not be considered, not even for prompts made to cause them.

    Parameters
    ----------
    parent : bytes
        Key of the block before; `chain_root` for the first.
    tokens : int32 [BLOCK]
        Token ids of the block; 0 where embeddings enter.
    content : bytes
        What determines the rows besides the tokens (`Content.key`).
    """
    return hashlib.blake2b(parent + tokens.tobytes() + content, digest_size=KEY_BYTES).digest()


class BlockPool:
    """Allocates the blocks of one cache group.

    A block is in one of three conditions:

    - *in use*: its reference count says how many sequences have it in their tables;
    - *free and cached*: no sequence has it, but it keeps its content, and its key leads to it. A sequence that begins
      with the same rows takes it back with `share` and need not compute them again;
    - *free*: its content is of no use.

    The free blocks form a queue. One that is not cached goes to its front, a cached one to its end. `allocate` takes
    from the front what is not cached, else a block that was never used, and else the cached one that was freed least
    recently (LRU): cached blocks are evicted only when every block is in use or cached, and fresh memory is touched
    only when all that was touched is.

    A block may be written only by a sequence that holds it alone, and is first evicted from the prefix cache (`evict`).
    If several hold it, the writer copies it into a new one (`Sequence.reserve`).

    Parameters
    ----------
    n_blocks : int
        Number of blocks; they are numbered from 0.
    """

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        # One entry for each block that was ever used: these are the first ones.
        self._ref_counts: list[int] = []
        self._key: list[bytes | None] = []
        self._block_of: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict()

    @property
    def n_free(self) -> int:
        """Number of blocks without references, including those in the prefix cache."""
        return self.n_blocks - len(self._ref_counts) + len(self._free)

    @property
    def n_cached(self) -> int:
        """Number of blocks in the prefix cache."""
        return len(self._block_of)

    def ref_count(self, block: int) -> int:
        """Number of sequences that hold a block."""
        return self._ref_counts[block]

    def allocate(self) -> int:
        """Take a free block; its content leaves the prefix cache.

        Raises
        ------
        CacheFullError
            If every block is in use; the scheduler then preempts a request.
        """
        front = next(iter(self._free), None)
        if (front is None or self._key[front] is not None) and len(self._ref_counts) < self.n_blocks:
            self._ref_counts.append(1)
            self._key.append(None)
            return len(self._ref_counts) - 1
        if front is None:
            raise CacheFullError(
                f"all {self.n_blocks} cache blocks are in use; free a sequence, or ask for more n_seqs"
            )
        self.evict(front)
        return self.share(front)

    def share(self, block: int) -> int:
        """Count one more reference to a block, in use or free; returns it."""
        if self._ref_counts[block] == 0:
            del self._free[block]
        self._ref_counts[block] += 1
        return block

    def free(self, block: int) -> None:
        """Remove one reference; a block without references returns to the free queue."""
        self._ref_counts[block] -= 1
        if self._ref_counts[block] == 0:
            self._free[block] = None
            if self._key[block] is None:
                self._free.move_to_end(block, last=False)

    def cache(self, block: int, key: bytes) -> None:
        """Register a full block under its key, unless another block with the same content has the key already."""
        if self._key[block] is None and key not in self._block_of:
            self._key[block] = key
            self._block_of[key] = block

    def find(self, key: bytes) -> int | None:
        """Return the block with this key, in use or free, or None."""
        return self._block_of.get(key)

    def evict(self, block: int) -> None:
        """Remove a block from the prefix cache: its content is about to change."""
        key = self._key[block]
        if key is not None:
            self._key[block] = None
            del self._block_of[key]
