"""Decode of a single sequence."""

from benchmarks.common import RandomModel


class Decode(RandomModel):
    """One token after 256 others, with a random model."""

    def setup(self, type_name):
        super().setup(type_name)
        self.session.step([(0, 0, self.tokens)])

    def time_step(self, type_name):
        self.session.step([(0, len(self.tokens), self.tokens[:1])])

    def track_bytes_per_token(self, type_name):
        return self.model.bytes_read()

    track_bytes_per_token.unit = "bytes"
