"""Speculative decoding: the cost of prompt lookup, and the speed of a repetitive answer."""

import numpy as np

from benchmarks.common import real_model
from realizar import LLM, SamplingParams
from realizar._kernels import lookup

TEXT = "The first room holds maps, the second one newspapers, and the third one letters and diaries of the valley.\n"


class Lookup:
    """Prompt lookup without a match, which scans the whole text."""

    params = (1000, 10_000, 100_000)
    param_names = ("tokens",)

    def setup(self, n):
        self.tokens = np.random.default_rng(0).integers(0, 150_000, n).astype(np.int32)

    def time_repeat(self, n):
        lookup.repeat(self.tokens, 32, 31)


class Answer:
    """A repetitive answer of 64 tokens by the default model."""

    params = (None, "ngram")
    param_names = ("speculate",)

    def setup(self, speculate):
        self.llm = LLM(real_model(), n_ctx=512, speculate=speculate)
        self.prompt, self.greedy = TEXT * 4, SamplingParams(temperature=0.0, max_tokens=64, ignore_eos=True)
        self.time_answer(speculate)

    def time_answer(self, speculate):
        self.llm.generate(self.prompt, self.greedy)

    def teardown(self, speculate):
        self.llm.close()
