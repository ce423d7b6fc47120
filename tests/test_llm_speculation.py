"""Speculative decoding on the default model, if it is in the cache: the same texts in fewer steps."""

import subprocess
import sys
from pathlib import Path

import pytest

from realizar import LLM, SamplingParams
from realizar.errors import ParameterError
from tests.engine.speculation.oracle import FlatCost
from tests.tokenizer.vocabularies import real

PATH = real("smollm2")
TOOL = Path(__file__).parents[1] / "tools/first_layers.py"
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not PATH.is_file(), reason=f"the default model is not in the cache ({PATH})"),
]

LINE = "The first room holds maps, the second one newspapers, and the third one letters and diaries.\n"
PROMPTS = [LINE * 4, "Once upon a time", "def fibonacci(n):\n"]
PARAMS = [
    SamplingParams(temperature=0.0, max_tokens=48, ignore_eos=True),
    SamplingParams(temperature=0.8, seed=3, max_tokens=48, repetition_penalty=1.1, logprobs=2),
    SamplingParams(temperature=0.5, seed=5, max_tokens=48, stop="return"),
]


@pytest.fixture(scope="module")
def plain():
    with LLM(PATH, n_ctx=256) as llm:
        return texts(llm)[0]


def write_first_layers(n, target):
    command = [sys.executable, TOOL, PATH, str(n), target]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def texts(llm):
    found = llm.generate(PROMPTS, PARAMS)
    return [(c.text, c.token_ids, c.finish_reason, c.logprobs) for c in found], [c.timings for c in found]


def test_prompt_lookup_gives_the_same_texts(plain):
    with LLM(PATH, n_ctx=256, speculate="ngram") as llm:
        llm.engine.speculator.cost = FlatCost(512)
        found, timings = texts(llm)
    assert found == plain
    assert timings[0].n_accepted >= 24


@pytest.mark.slow
def test_draft_model_gives_the_same_texts(plain, tmp_path):
    assert write_first_layers(20, tmp_path / "first.gguf").returncode == 0
    with LLM(PATH, n_ctx=256, draft=tmp_path / "first.gguf") as llm:
        assert texts(llm)[0] == plain


def test_first_layers_of_a_shorter_model(tmp_path):
    done = write_first_layers(30, tmp_path / "first.gguf")
    assert "n_layers=30: must be in [1, 29]" in done.stderr
    assert not list(tmp_path.iterdir())


def test_prompt_lookup_excludes_a_draft_model():
    with pytest.raises(ParameterError, match="draft="):
        LLM(PATH, speculate="ngram", draft=PATH)
