"""A medium-sized random model, and the default model if it is downloaded."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from realizar import store
from realizar.arch import registry
from realizar.testing import Session, tiny_metadata, tiny_model

SIZES = {
    "block_count": 2,
    "embedding_length": 768,
    "feed_forward_length": 2048,
    "attention.head_count": 12,
    "attention.head_count_kv": 4,
    "vocab_size": 2048,
    "context_length": 16384,
}


class RandomModel:
    """Base of benchmarks with a model: `open` sets `self.model`, `self.session` and 256 random `self.tokens`."""

    params = ("Q4_K", "Q5_0")
    param_names = ("format",)

    def open(self, type_name, n_seqs=1, n_ctx=512):
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        metadata = {**tiny_metadata("llama"), **{f"llama.{key}": value for key, value in SIZES.items()}}
        llama = registry.default().architecture("llama")
        self.model = self.stack.enter_context(tiny_model(llama, metadata, type_name, folder))
        self.session = Session(self.model, self.model.plan(), n_threads=2, n_seqs=n_seqs, n_ctx=n_ctx)
        self.tokens = [int(token) for token in np.random.default_rng(0).integers(0, SIZES["vocab_size"], 256)]

    def setup(self, type_name):
        self.open(type_name)

    def teardown(self, *params):
        del self.session
        self.stack.close()


def real_model(name=store.DEFAULT_MODEL):
    """Return the path of a model; skips the benchmark if it is not downloaded."""
    path = store.cache_dir() / store.MODELS[name].file
    if not path.is_file():
        raise NotImplementedError("download the model first: realizar pull smollm2")
    return path
