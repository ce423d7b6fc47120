"""Decode and prefill at a large depth: attention over the KV cache."""

from benchmarks.common import RandomModel

DEPTH = 8192


class LongContext(RandomModel):
    """One token, or 256 at once, after 8192 others."""

    params = ("Q4_K",)

    def setup(self, type_name):
        self.open(type_name, n_ctx=DEPTH + 256)
        for past in range(0, DEPTH, 256):
            self.session.step([(0, past, self.tokens)])

    def time_decode(self, type_name):
        self.session.step([(0, DEPTH, self.tokens[:1])])

    def time_prefill(self, type_name):
        self.session.step([(0, DEPTH, self.tokens)])

    def track_kv_bytes_per_token(self, type_name):
        arrays = [array for at in self.session.storage.layers for array in (at.k, at.v)]
        return sum(array.nbytes for array in arrays) // (DEPTH + 256)

    track_kv_bytes_per_token.unit = "bytes"
