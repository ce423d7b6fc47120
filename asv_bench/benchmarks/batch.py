"""Batched decode: weights are read and unpacked once for all sequences."""

from benchmarks.common import RandomModel


class Batch(RandomModel):
    """One token for each of several sequences of 64 tokens."""

    params = (RandomModel.params, (1, 2, 4, 8, 16, 32))
    param_names = ("format", "sequences")

    def setup(self, type_name, n_seqs):
        self.open(type_name, n_seqs, n_ctx=128)
        for s in range(n_seqs):
            self.session.step([(s, 0, self.tokens[s : s + 64])])

    def time_step(self, type_name, n_seqs):
        self.session.step([(s, 64, self.tokens[:1]) for s in range(n_seqs)])
