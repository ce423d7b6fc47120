"""Products with quantized weights, by format and instruction set."""

import numpy as np

from realizar._kernels import ops, rows, table
from realizar.quants import FORMATS, quantize

N_OUT, K = 512, 2048


class Product:
    """A weight matrix [512, 2048] times one token (gemv) and times 64 (gemm)."""

    params = (sorted(FORMATS), table.available())
    param_names = ("format", "isa")

    def setup(self, type_name, isa):
        rng = np.random.default_rng(0)
        self.w = quantize(rng.standard_normal((N_OUT, K), dtype=np.float32), type_name)
        self.x = rng.standard_normal((64, K), dtype=np.float32)

    def time_gemv(self, type_name, isa):
        rows.matmul(type_name, self.w, self.x[:1], shape="gemv", isa=isa)

    def time_gemm(self, type_name, isa):
        rows.matmul(type_name, self.w, self.x, shape="gemm", isa=isa)


class Rows:
    """Ops on 64 rows of 2048 floats."""

    params = table.available()
    param_names = ("isa",)

    def setup(self, isa):
        self.x = np.random.default_rng(0).standard_normal((64, K), dtype=np.float32)
        self.w = np.ones(K, np.float32)

    def time_rms_norm(self, isa):
        ops.rms_norm(self.x, self.w, isa=isa)

    def time_silu(self, isa):
        ops.silu(self.x, isa=isa)

    def time_softmax(self, isa):
        ops.softmax(self.x, isa=isa)

    def time_quantize_act(self, isa):
        rows.quantize_act(self.x, 256, isa=isa)
