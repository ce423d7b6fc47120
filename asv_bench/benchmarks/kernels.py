"""Products with quantized weights by format, ISA level and shape, and ops without weights."""

import numpy as np

from realizar._kernels import rows, table
from realizar._kernels.testing import ops
from realizar.quants import FORMATS, quantize

N_OUT, K = 512, 2048
SHAPES = {  # activations, kernel, tokens
    "gemv 1": ("int8", "gemv", 1),
    "gemm 8": ("int8", "gemm", 8),
    "gemm 64": ("int8", "gemm", 64),
    "f32 1": ("f32", "gemv", 1),
}


class Product:
    """A weight matrix [512, 2048] times some tokens."""

    params = (sorted(FORMATS), table.available(), tuple(SHAPES))
    param_names = ("format", "isa", "shape")

    def setup(self, type_name, isa, shape):
        rng = np.random.default_rng(0)
        block_rows = quantize(rng.standard_normal((N_OUT // 16, K), dtype=np.float32), type_name)
        self.w = np.tile(block_rows, (16, 1))  # repeated, because quantizing is slow and the values do not matter
        self.x = rng.standard_normal((SHAPES[shape][2], K), dtype=np.float32)

    def time_product(self, type_name, isa, shape):
        activations, kernel, _ = SHAPES[shape]
        rows.matmul(type_name, self.w, self.x, activations, kernel, isa)


class Rows:
    """Ops on 64 rows of 2048 floats."""

    params = table.available()
    param_names = ("isa",)

    def setup(self, isa):
        self.x = np.random.default_rng(0).standard_normal((64, K), dtype=np.float32)
        self.w = np.ones(K, np.float32)

    def time_rms_norm(self, isa):
        ops.rms_norm(self.x, self.w, isa=isa)

    def time_layer_norm(self, isa):
        ops.layer_norm(self.x, self.w, self.w, isa=isa)

    def time_silu(self, isa):
        ops.silu(self.x, isa=isa)

    def time_gelu(self, isa):
        ops.gelu(self.x, isa=isa)

    def time_softmax(self, isa):
        ops.softmax(self.x, isa=isa)

    def time_quantize_act(self, isa):
        rows.quantize_act(self.x, 256, isa=isa)
