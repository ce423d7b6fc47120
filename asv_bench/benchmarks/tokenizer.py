"""Encoding and decoding with the tokenizer of the default model."""

from benchmarks.common import real_model
from realizar.gguf import GGUFFile
from realizar.tokenizer import Tokenizer

TEXT = "The quick brown fox jumps over the lazy dog; grüße, 你好, and 12345 times more.\n" * 200


class Tokens:
    """16 kB of text."""

    def setup(self):
        self.file = GGUFFile(real_model())
        self.tokenizer = Tokenizer.from_gguf(self.file.metadata)
        self.ids = self.tokenizer.encode(TEXT)

    def teardown(self):
        self.file.close()

    def time_build(self):
        Tokenizer.from_gguf(self.file.metadata).encode("ready")

    def time_encode(self):
        self.tokenizer.encode(TEXT)

    def time_decode(self):
        self.tokenizer.decode(self.ids)

    def time_stream(self):
        stream = self.tokenizer.stream()
        for token in self.ids:
            stream.push(token)
