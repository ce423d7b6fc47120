"""Choosing one token among 151 936, Qwen's vocabulary."""

import numpy as np

from realizar import SamplingParams
from realizar.sampling import SamplerChain

N_VOCAB = 151_936
CHAINS = {
    "greedy": SamplingParams(temperature=0.0),
    "plain": SamplingParams(),
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


class Sample:
    """A few hundred probable tokens above a broad rest."""

    params = tuple(CHAINS)
    param_names = ("chain",)

    def setup(self, name):
        rng = np.random.default_rng(0)
        self.logits = (rng.standard_normal(N_VOCAB) * 2 - 8).astype(np.float32)
        self.logits[rng.integers(0, N_VOCAB, 300)] += 15
        self.history = [int(token) for token in rng.integers(0, N_VOCAB, 1000)]
        self.chain = SamplerChain.from_params(CHAINS[name], N_VOCAB, 0)

    def time_sample(self, name):
        self.chain.sample(self.logits, self.history, 1000)
