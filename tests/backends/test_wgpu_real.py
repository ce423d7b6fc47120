"""On wgpu, LLM continues the prompts of tests/peers on the default model, if it is in the cache, as the CPU does."""

import pytest

from realizar import LLM, SamplingParams
from tests.backends.adapters import need_adapter
from tests.peers.prompts import PROMPTS
from tests.tokenizer.vocabularies import real

PATH = real("smollm2")
N_TOKENS = 6
pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_model,
    pytest.mark.skipif(not PATH.is_file(), reason=f"the default model is not in the cache ({PATH})"),
]


def test_greedy_texts_are_those_of_the_cpu():
    """Of 19 of 20 prompts at least: two tokens may have nearly the same logit."""
    need_adapter()
    params = SamplingParams(temperature=0.0, max_tokens=N_TOKENS, ignore_eos=True)
    found = {}
    for backend in ("wgpu", "cpu"):
        options = {"n_ctx": 128, "n_seqs": len(PROMPTS), "activations": "f32", "kv_type": "f32"}
        with LLM(PATH, backend=backend, **options) as llm:
            found[backend] = [c.token_ids for c in llm.generate(PROMPTS, params)]
    differing = [i for i, (a, b) in enumerate(zip(found["wgpu"], found["cpu"], strict=True)) if a != b]
    assert len(differing) * 20 <= len(PROMPTS), differing
