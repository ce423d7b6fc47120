"""BlockPool: which cache block is whose, and which free ones still hold something worth finding again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from realizar.errors import CacheFullError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROOT = b""
"""Parent hash of a sequence's first block."""


def chain_hash(parent: bytes, tokens: npt.NDArray[np.int32]) -> bytes:
    """Name a full block by its tokens and by everything before it.

    Two blocks have one name only if their whole histories are equal: the hash is cryptographic (BLAKE2b, 128 bits),
    so that a collision need not be thought about, not even with prompts made for it.

    Parameters
    ----------
    parent : bytes
        Name of the block before; `ROOT` for the first.
    tokens : int32 [BLOCK]
        Ids of the tokens in the block.
    """
    return hashlib.blake2b(parent + tokens.tobytes(), digest_size=16).digest()


class BlockPool:
    """Hands out the blocks of one cache group.

    A block is in one of three conditions:

    - *held*: its count says how many sequences have it in their tables;
    - *free and named*: nobody holds it, but it keeps its content, and its name leads to it. A sequence that begins
      with the same tokens takes it back with `share` and need not compute them again;
    - *free and blank*: nothing in it is of use.

    The free blocks form a queue. A blank block goes to its front, a named one to its end. `allocate` takes from the
    front what is blank, else a block that was never used, and else the named one that was freed least recently: names
    are lost only when every block is held or named, and fresh memory is touched only when all that was touched is.

    A block may be written only by a sequence that is its sole holder, and loses its name first (`forget`). Where
    several hold it, the writer copies it into a new one (`Sequence.reserve`).

    Parameters
    ----------
    n_blocks : int
        Blocks there are, numbered from 0.
    """

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        # One entry for each block that was ever used: these are the first ones.
        self._holders: list[int] = []
        self._name: list[bytes | None] = []
        self._block_of: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict()

    @property
    def n_free(self) -> int:
        """Blocks that nobody holds, named ones included."""
        return self.n_blocks - len(self._holders) + len(self._free)

    @property
    def n_named(self) -> int:
        """Full blocks that a new sequence could find."""
        return len(self._block_of)

    def holders(self, block: int) -> int:
        """How many sequences hold a block."""
        return self._holders[block]

    def allocate(self) -> int:
        """Take a free block; its old content and name are gone.

        Raises
        ------
        CacheFullError
            If every block is held; the scheduler then preempts a request.
        """
        front = next(iter(self._free), None)
        if (front is None or self._name[front] is not None) and len(self._holders) < self.n_blocks:
            self._holders.append(1)
            self._name.append(None)
            return len(self._holders) - 1
        if front is None:
            raise CacheFullError(f"all {self.n_blocks} cache blocks are held; free a sequence, or ask for more n_seqs")
        self.forget(front)
        return self.share(front)

    def share(self, block: int) -> int:
        """Become one more holder of a block, held or free; returns it."""
        if self._holders[block] == 0:
            del self._free[block]
        self._holders[block] += 1
        return block

    def free(self, block: int) -> None:
        """Let go of a block; the last holder's goes back into the queue."""
        self._holders[block] -= 1
        if self._holders[block] == 0:
            self._free[block] = None
            if self._name[block] is None:
                self._free.move_to_end(block, last=False)

    def name(self, block: int, name: bytes) -> None:
        """Make a full block findable. Where another one with the same content has the name, it keeps it."""
        if self._name[block] is None and name not in self._block_of:
            self._name[block] = name
            self._block_of[name] = block

    def find(self, name: bytes) -> int | None:
        """Return the block with this name, held or free, or None."""
        return self._block_of.get(name)

    def forget(self, block: int) -> None:
        """Take a block's name away: its content is about to change."""
        name = self._name[block]
        if name is not None:
            self._name[block] = None
            del self._block_of[name]
