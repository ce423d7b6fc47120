"""The effect of rounding activations: the default model's first completions, and the logits of the real models."""

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.errors import ParameterError
from tests.limits.models import LLAMA
from tests.tokenizer.vocabularies import real

GREEDY = SamplingParams(temperature=0.0, max_tokens=12)
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "How many days are in a week?": "7",
    "What is the chemical formula for water?": "H2O",
    "What is 2 + 2?": "4",
}
TEXT = (
    "Light is electromagnetic radiation that the human eye can perceive. Its speed in empty space is 299,792,458 "
    "metres a second.\n\ndef area(width, height):\n    return width * height\n"
)


def need(name):
    path = real(name)
    if not path.is_file():
        pytest.skip(f"{name} is not in the cache ({path})")
    return path


def answers(path, **params):
    with LLM(path, n_ctx=256, **params) as llm:
        return {q: llm.chat([{"role": "user", "content": q}], GREEDY).text for q in QUESTIONS}


@pytest.mark.slow
@pytest.mark.real_model
def test_first_completions_of_the_default_model_equal_exact_activations():
    path = need("smollm2")
    found = answers(path)
    assert found == answers(path, activations="f32")
    for question, word in QUESTIONS.items():
        assert word in found[question]


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["smollm2", pytest.param("qwen2.5-coder-0.5b", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kv_type", "bound"), [("f32", 3e-4), ("f16", 1.5e-3)])
def test_int16_is_nearly_exact(name, kv_type, bound):
    logits = []
    for params in ({"activations": "f32", "kv_type": "f32"}, {"activations": "int16", "kv_type": kv_type}):
        with LLM(need(name), n_ctx=256, **params) as llm:
            logits.append(llm.logits(llm.tokenize(TEXT)))
    exact, found = logits
    size = np.linalg.norm(exact - exact.mean(-1, keepdims=True), axis=-1)
    assert np.median(np.linalg.norm(found - exact, axis=-1) / size) <= bound
    assert (found.argmax(-1) == exact.argmax(-1)).all()


def test_small_decoders_use_int16():
    with LLM(LLAMA) as llm:
        assert llm.engine.runner.activations == "int16"
    with LLM(LLAMA, activations="int8") as llm:
        assert llm.engine.runner.activations == "int8"


def test_large_decoders_and_encoders_use_int8(monkeypatch):
    monkeypatch.setattr("realizar.model.INT16_BELOW", 1e3)
    with LLM(LLAMA) as llm:
        assert llm.engine.runner.activations == "int8"


@pytest.mark.parametrize("value", ["int4", 16, ["int8"]])
def test_invalid_activations(value):
    with pytest.raises(ParameterError, match=r"activations.*'int8', 'int16', 'f32' or None"):
        LLM(LLAMA, activations=value)
