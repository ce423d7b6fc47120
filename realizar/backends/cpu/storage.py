"""CPUStorage: the memory of a KV cache, in the layout of the attention kernels, and of recurrent states."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from realizar._kernels.kv import kv_bytes
from realizar.backends.storage import ArrayStorage, untouched


class CPUStorage(ArrayStorage):
    """Blocks uint8 [n_blocks, n_head_kv, kv_bytes(type, head_dim)]; see docs/kernels.md.

    K is kept transposed inside a block: neither the product with a query nor the sum over values then adds across a
    vector. The blocks of a head are contiguous: attention reads one head at a time, and a prefetcher would bring in
    what stands between, a fifth of the speed of decoding.
    """

    def _blocks(self, n_blocks: int, n_head_kv: int, head_dim: int, kv_type: str) -> npt.NDArray[Any]:
        shape = (n_head_kv, n_blocks, kv_bytes(kv_type, head_dim))
        return untouched(shape, np.dtype(np.uint8)).swapaxes(0, 1)
