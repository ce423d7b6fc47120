"""LoRA adapters and control vectors against transformers and llama.cpp, on the second set of tiny random models."""

from functools import cache

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.testing import relative_error
from tests.shared import needs_shared

from .cases import SECOND_SET

CASES = ("lora_llama", "lora_qwen2")
ADAPTERS = ("adapter-f32.gguf", "adapter-f16.gguf", "peft")
pytestmark = [needs_shared, pytest.mark.parametrize("case", CASES)]


@cache
def golden(case):
    return dict(np.load(SECOND_SET / case / "golden.npz"))


@pytest.fixture
def llm(case):
    path = SECOND_SET / case / "model-q8_0.gguf"
    with LLM(path, n_threads=1, n_ctx=256, activations="f32", kv_type="f32") as found:
        for name in ADAPTERS:
            found.add_lora(name, path.with_name(name))
        found.add_control_vector("vector", path.with_name("control-vector.gguf"))
        yield found


def logits(llm, case, **use):
    return llm.logits(golden(case)["tokens"].tolist(), params=SamplingParams(**use))


def test_logits_with_lora(case, llm):
    for scale in ("1.0", "0.5"):
        for name in ADAPTERS:
            found = logits(llm, case, lora={name: float(scale)})
            assert relative_error(found, golden(case)[f"hf_logits_lora_{scale}"]) < 2e-5, (name, scale)


def test_logits_with_a_control_vector(case, llm):
    keys = [key for key in golden(case) if key.startswith("hf_logits_cvec_")]
    assert len(keys) >= 2
    for key in keys:
        scale, _, layer = key.removeprefix("hf_logits_cvec_").partition("_layer")
        use = (float(scale), int(layer), int(layer)) if layer else float(scale)
        assert relative_error(logits(llm, case, control_vector={"vector": use}), golden(case)[key]) < 2e-5, key


def test_greedy_completions(case, llm):
    """Equal as long as the best logit is clearly ahead."""
    arrays = golden(case)
    uses = {"lora_1.0": {"lora": "peft"}, "lora_0.5": {"lora": {"adapter-f32.gguf": 0.5}},
            "cvec_1.0": {"control_vector": "vector"}}  # fmt: skip
    params = [SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True, **use) for use in uses.values()]
    found = llm.generate([arrays["tokens"].tolist()] * len(params), params)
    for key, completion in zip(uses, found, strict=True):
        margins = arrays[f"hf_greedy_margin_{key}"]
        n = next((i for i, margin in enumerate(margins) if margin < 1e-2), len(margins))
        assert completion.token_ids[:n] == arrays[f"hf_greedy_{key}"][:n].tolist(), key


def test_int8_is_as_near_as_llama_cpp(case):
    path = SECOND_SET / case / "model-q8_0.gguf"
    with LLM(path, n_threads=1, n_ctx=256, activations="int8") as llm:
        llm.add_lora("a", path.with_name("adapter-f32.gguf"))
        found = logits(llm, case, lora="a")
    want, theirs = golden(case)["hf_logits_lora_1.0"], golden(case)["logits_q8_0_lora_1.0"].astype(np.float32)
    assert relative_error(found, want) <= 1.1 * relative_error(theirs, want)
