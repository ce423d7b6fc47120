"""Sampling a token from Qwen's vocabulary of 151 936."""

from functools import partial

import numpy as np

from benchmarks.common import real_model
from realizar import LLM, SamplingParams
from realizar._kernels import logit_scan
from realizar._kernels.plan import Pool
from realizar.runtime.logit_rows import LogitRows
from realizar.sampling import SamplerChain

N_VOCAB = 151_936
N_ROWS = 16
CHAINS = {
    "greedy": SamplingParams(temperature=0.0),
    "plain": SamplingParams(),
    "run": SamplingParams(temperature=0.7, top_p=0.95, min_p=0.05),  # the defaults of realizar run
    "top_k": SamplingParams(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, repetition_penalty=1.1),
    "top_p": SamplingParams(temperature=0.8, top_p=0.9),
    "typical_p": SamplingParams(typical_p=0.9),
    "tfs_z": SamplingParams(tfs_z=0.95),
    "eta_cutoff": SamplingParams(eta_cutoff=1e-3),
    "top_n_sigma": SamplingParams(top_n_sigma=1.0),
    "dynatemp": SamplingParams(dynatemp_range=0.5),
    "xtc": SamplingParams(xtc_probability=1.0),
    "mirostat": SamplingParams(mirostat=1),
    "mirostat_v2": SamplingParams(mirostat=2),
    "dry": SamplingParams(dry_multiplier=0.8, dry_sequence_breakers=()),
    "no_repeat_ngram": SamplingParams(no_repeat_ngram_size=3),
    "logprobs": SamplingParams(temperature=0.0, logprobs=20),
}


def made_up(n_rows):
    """Return logits with a few hundred probable tokens above a broad background."""
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((n_rows, N_VOCAB)) * 2 - 8).astype(np.float32)
    for row in logits:
        row[rng.integers(0, N_VOCAB, 300)] += 15
    return logits


class Sample:
    """Sampling for one sequence."""

    params = tuple(CHAINS)
    param_names = ("chain",)

    def setup(self, name):
        self.logits = made_up(1)[0]
        self.history = [int(token) for token in np.random.default_rng(1).integers(0, N_VOCAB, 1000)]
        self.chain = SamplerChain.from_params(CHAINS[name], N_VOCAB, 0)

    def time_sample(self, name):
        self.chain.sample(self.logits, self.history, 1000)


class SampleRows:
    """Sampling for 16 sequences of a step; two threads first scan their logits."""

    params = ("plain", "greedy", "run")
    param_names = ("chain",)

    def setup(self, name):
        self.logits = made_up(N_ROWS)
        self.scan = partial(logit_scan.summaries, Pool(2))
        self.chains = [SamplerChain.from_params(CHAINS[name], N_VOCAB, i) for i in range(N_ROWS)]

    def time_rows(self, name):
        for chain, row in zip(self.chains, LogitRows(self.logits, self.scan), strict=True):
            chain.sample(row, [], 1000)


class Step:
    """A step of Qwen2.5-Coder-0.5B, for comparison with the sampling times."""

    params = (1, N_ROWS)
    param_names = ("n_sequences",)

    def setup(self, n):
        self.llm = LLM(real_model("qwen2.5-coder-0.5b"), n_ctx=1024, n_seqs=n, n_threads=2)
        params = SamplingParams(max_tokens=None, ignore_eos=True, seed=1)
        self.requests = [self.llm.engine.generate([1, 2, 3 + i], params) for i in range(n)]
        self.llm.engine.step()

    def teardown(self, n):
        self.llm.close()

    def time_step(self, n):
        self.llm.engine.step()
