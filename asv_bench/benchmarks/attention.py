"""Attention by KV cache type, ISA level and shape."""

import numpy as np

from benchmarks.common import RandomModel
from realizar._kernels import table
from realizar._kernels.kv import KV_TYPES, kv_bytes
from realizar._kernels.testing import attention
from realizar.testing import Session

N_KEYS = 2048
SHAPES = {
    "4 x 64": (4, 64),
    "7 x 64": (7, 64),
    "1 x 80": (1, 80),
    "4 x 128": (4, 128),
}  # queries of a KV head, head_dim


class Prefill:
    """The last 512 queries of a KV head over 2048 keys; includes storing the keys, a tenth of the time."""

    params = (sorted(KV_TYPES), table.available()[1:], tuple(SHAPES))
    param_names = ("kv_type", "isa", "shape")

    def setup(self, kv_type, isa, shape):
        n_group, head_dim = SHAPES[shape]
        rng = np.random.default_rng(0)
        self.q = rng.standard_normal((512 // n_group, n_group, head_dim), np.float32)
        self.k, self.v = (rng.standard_normal((N_KEYS, 1, head_dim), np.float32) for _ in range(2))

    def time_attend(self, kv_type, isa, shape):
        attention.attention(self.q, self.k, self.v, k_type=kv_type, v_type=kv_type, isa=isa)

    def time_store_k(self, kv_type, isa, shape):
        attention.store(self.k, "k", kv_type, isa)

    def track_block_bytes(self, kv_type, isa, shape):
        return kv_bytes(kv_type, SHAPES[shape][1])

    track_block_bytes.unit = "bytes"


class Decode(RandomModel):
    """One token after 4096 others, in a model where f16 K and V are half of the bytes read."""

    params = (sorted(KV_TYPES), table.available()[1:])
    param_names = ("kv_type", "isa")

    def setup(self, kv_type, isa):
        self.open("Q4_K")
        plan = self.model.plan()
        self.session = Session(self.model, plan, kv_type=kv_type, isa=isa, n_threads=2, n_seqs=1, n_ctx=4112)
        for past in range(0, 4096, 256):
            self.session.step([(0, past, self.tokens)])

    def time_step(self, kv_type, isa):
        self.session.step([(0, 4096, self.tokens[:1])])
