"""What choosing tokens costs beside computing their logits: a real model, 152,000 tokens, alone and sixteen together.

One text: 0.8 % of a step on two threads. Sixteen: 2.4 %, of which 1.9 is reading 9.7 MB of logits from memory.
"""

import time

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.sampling import SamplerChain
from tests.tokenizer.vocabularies import real

PATH = real("qwen2.5-coder-0.5b")
N_STEPS = 24
MOST = {1: 0.02, 16: 0.03}
CHAINS = {
    "plain": SamplingParams(max_tokens=N_STEPS, ignore_eos=True, seed=1),
    "greedy": SamplingParams(temperature=0.0, max_tokens=N_STEPS, ignore_eos=True),
}


class Watch:
    """Passes calls on, and adds up what they take."""

    def __init__(self, function):
        self.function, self.seconds = function, []

    def __call__(self, *args):
        begin = time.perf_counter()
        result = self.function(*args)
        self.seconds.append(time.perf_counter() - begin)
        return result


@pytest.mark.real_model
@pytest.mark.skipif(not PATH.is_file(), reason=f"the model is not in the cache ({PATH}); realizar pull {PATH.stem}")
@pytest.mark.parametrize("chain", CHAINS)
def test_share_of_a_step(chain, monkeypatch, capsys):
    with LLM(PATH, n_ctx=128, n_seqs=16) as llm:
        runner = llm.engine.runner
        for n, most in MOST.items():
            prompts = [llm.tokenize(f"Write a story about the number {i}.") for i in range(n)]
            requests = [llm.engine.generate(prompt, CHAINS[chain]) for prompt in prompts]
            run, sample, fill = Watch(runner.run), Watch(SamplerChain.sample), Watch(runner.blocks.fill)
            with monkeypatch.context() as patch:
                patch.setattr(runner, "run", run)
                patch.setattr(SamplerChain, "sample", lambda *args, sample=sample: sample(*args))
                patch.setattr(runner, "blocks", type("Blocks", (), {"fill": fill, "forget": runner.blocks.forget}))
                llm.engine.wait(lambda requests=requests: all(request.is_over for request in requests))
            step, look = (float(np.median(watch.seconds[-N_STEPS + 1 :])) for watch in (run, fill))
            choose = float(np.median(sample.seconds[n:])) * n
            share = (look + choose) / (step + look + choose)
            with capsys.disabled():
                print(
                    f"\n{chain}, {n}: a step of {step * 1e3:.1f} ms, blocks {look * 1e6:.0f} us, "
                    f"chains {choose * 1e6:.0f} us: {share:.2%}"
                )
            assert share <= most
