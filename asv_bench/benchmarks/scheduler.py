"""Overhead of a step outside the model: scheduling, batch arrays, KV cache bookkeeping."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from realizar.arch import registry
from realizar.backends.cpu.backend import CPUBackend
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.kv_cache import KVCache
from realizar.engine.cache.sequence import Sequence
from realizar.engine.runner import Runner
from realizar.params import EngineParams
from realizar.runtime.plan import CacheGroup
from realizar.testing import tiny_metadata, tiny_model


class Step:
    """One token for each of several sequences of 1000 tokens, without the model."""

    params = (1, 16)
    param_names = ("sequences",)

    def setup(self, n_seqs):
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        llama = registry.default().architecture("llama")
        model = self.stack.enter_context(tiny_model(llama, tiny_metadata("llama"), "Q8_0", folder))
        params = EngineParams(n_threads=1, n_ctx=2048, n_seqs=n_seqs)
        backend = CPUBackend(2)
        self.cache = KVCache(model.plan().cache_groups, (), params, backend)
        self.runner = Runner(model, self.cache, params, backend)
        self.sequences = [Sequence(self.cache, [1 + i] * 1000) for i in range(n_seqs)]
        for seq in self.sequences:
            seq.reserve(999)
            seq.commit(999)

    def teardown(self, n_seqs):
        del self.runner, self.cache, self.sequences
        self.stack.close()

    def time_reserve_and_batch(self, n_seqs):
        for seq in self.sequences:
            seq.reserve(1)
        self.runner.batch([Chunk(seq, 1, 1) for seq in self.sequences])

    def time_fork_and_free(self, n_seqs):
        for seq in self.sequences:
            seq.fork().free()


class Prefix:
    """Prefix cache lookup of a prompt of 2000 tokens."""

    def setup(self):
        params = EngineParams(n_threads=1, n_ctx=2048, n_seqs=2)
        self.cache = KVCache((CacheGroup("full", 0, ()),), (), params, CPUBackend(2))
        self.tokens = list(range(2000))
        first = Sequence(self.cache, self.tokens)
        first.reserve(2000)
        first.commit(2000)

    def time_match(self):
        seq = Sequence(self.cache, self.tokens)
        seq.match_prefix()
        seq.free()
