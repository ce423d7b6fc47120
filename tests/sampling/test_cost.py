"""The cost of sampling, counted: one scan of a step's logits for all sequences, then a few blocks of them."""

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar._kernels import logit_scan
from realizar._kernels.plan import Pool
from realizar.runtime.logit_rows import LogitRow
from realizar.sampling import SamplerChain
from tests.parity.cases import FIXTURES

N_VOCAB, BLOCK, N_HOT = 151_936, 64, 20
ONE = {"plain": SamplingParams(), "greedy": SamplingParams(temperature=0.0)}
MOST = {"run": SamplingParams(temperature=0.7, top_p=0.95, min_p=0.05), "top_k": SamplingParams(top_k=15)}


def chosen(params, summaries, row):
    return SamplerChain.from_params(params, N_VOCAB, 3).sample(LogitRow(row, summaries), [], 7).token_id


@pytest.mark.parametrize("name", [*ONE, *MOST])
def test_few_blocks_of_the_logits_are_read(name):
    """All other blocks may be NaN: those without the chosen token, or those without a probable token."""
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((1, N_VOCAB)) / 2 - 8).astype(np.float32)
    hot = rng.integers(0, N_VOCAB, N_HOT)
    logits[0, hot] += 14
    summaries = logit_scan.summaries(Pool(2), logits)[0]
    params = {**ONE, **MOST}[name]
    want = chosen(params, summaries, logits[0])
    kept = {want // BLOCK} if name in ONE else {int(token) // BLOCK for token in hot}
    logits[0, ~np.isin(np.arange(N_VOCAB) // BLOCK, list(kept))] = np.nan
    assert chosen(params, summaries, logits[0]) == want


class Counter:
    """Passes calls on and counts them."""

    def __init__(self, function):
        self.function, self.n = function, 0

    def __call__(self, *args):
        self.n += 1
        return self.function(*args)


def test_calls_of_a_step(monkeypatch):
    """Each step scans the logits of all sequences once, and calls each chain once."""
    n, n_tokens = 5, 8
    params = SamplingParams(max_tokens=n_tokens, ignore_eos=True, seed=1)
    with LLM(FIXTURES / "llama/model-q4_1.gguf", n_ctx=64, n_seqs=n, n_threads=1) as llm:
        runner = llm.engine.runner
        run, scan, sample = Counter(runner.run), Counter(runner.backend.summarize), Counter(SamplerChain.sample)
        monkeypatch.setattr(runner, "run", run)
        monkeypatch.setattr(runner.backend, "summarize", scan)
        monkeypatch.setattr(SamplerChain, "sample", lambda *args: sample(*args))
        llm.generate([[1, 2, 3 + i] for i in range(n)], params)
    assert (run.n, scan.n, sample.n) == (n_tokens, n_tokens, n * n_tokens)
