"""Prefill of a prompt in one step."""

from benchmarks.common import RandomModel


class Prefill(RandomModel):
    """256 tokens in one step of a random model."""

    def time_prefill(self, type_name):
        self.session.step([(0, 0, self.tokens)])

    def peakmem_prefill(self, type_name):
        self.session.step([(0, 0, self.tokens)])

    def track_ops(self, type_name):
        return len(self.model.plan().ops)

    def track_planned_bytes(self, type_name):
        return self.session.compiled.n_bytes

    track_planned_bytes.unit = "bytes"
