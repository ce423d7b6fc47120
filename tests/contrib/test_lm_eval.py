"""lm-eval on a realizar model and a dataset of ten lines: multiple choice, perplexity, generation."""

import json
from pathlib import Path

import pytest

from realizar import LLM
from realizar.errors import ParameterError
from tests.limits.models import LLAMA
from tests.tokenizer.vocabularies import real

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra: lm-eval)")
from realizar.contrib.lm_eval import RealizarLM  # noqa: E402

DATA = Path(__file__).with_name("capitals.jsonl")
ROWS = [json.loads(line) for line in DATA.read_text().splitlines()]
SMOLLM = real("smollm2")
TASKS = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "likelihood": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}} {{choices[answer]}}.",
        "metric_list": [{"metric": "byte_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}],
    },
    "answers": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": " {{choices[answer]}}",
        "generation_kwargs": {"until": [",", ".", "\n"], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}


def evaluated(model, folder):
    """Return the metrics of all tasks."""
    files = {"data_files": {"test": str(DATA)}, "cache_dir": str(folder)}
    tasks = [
        {"task": name, "dataset_path": "json", "dataset_kwargs": files, "test_split": "test", **task}
        for name, task in TASKS.items()
    ]
    found = lm_eval.simple_evaluate(model=model, tasks=tasks, bootstrap_iters=0)["results"]
    assert set(found) == set(TASKS)
    return {name: next(found[name][key] for key in found[name] if key.endswith(",none")) for name in found}


@pytest.fixture(scope="module")
def model():
    with LLM(LLAMA, n_threads=1, n_ctx=64) as llm:
        yield RealizarLM(llm)


def test_all_request_types(model, tmp_path):
    found = evaluated(model, tmp_path)
    right = 0
    for row in ROWS:
        scores = [model.llm.score(row["question"], f" {choice}").logprob for choice in row["choices"]]
        right += scores.index(max(scores)) == row["answer"]
    assert found["choices"] == pytest.approx(right / len(ROWS))
    assert found["likelihood"] > 1
    assert 0 <= found["answers"] <= 1


def test_long_contexts_are_truncated_and_long_documents_windowed(model):
    ids = model.tok_encode("the cat saw a dog in the house " * 12)
    tail = [7, 8, 9]
    cut = model.llm.score(ids[-(64 + 1 - 3) :], tail)
    assert model._loglikelihood_tokens([(None, ids, tail)]) == [(cut.logprob, cut.is_greedy)]
    (whole,) = model.loglikelihood_rolling([type("Instance", (), {"args": ("the cat saw a dog " * 30,)})()])
    (part,) = model.loglikelihood_rolling([type("Instance", (), {"args": ("the cat saw a dog " * 3,)})()])
    assert whole < part < 0


def test_generation_kwargs(model):
    plain = model._params({"until": "\n", "do_sample": False, "temperature": 0.7, "top_p": None})
    assert (plain.temperature, plain.stop, plain.max_tokens) == (0.0, ("\n",), 256)
    drawn = model._params({"until": ["", "a"], "temperature": 0.7, "max_gen_toks": 9, "top_p": 0.5})
    assert (drawn.temperature, drawn.stop, drawn.max_tokens, drawn.top_p) == (0.7, ("a",), 9, 0.5)
    with pytest.raises(ParameterError, match="num_beams"):
        model._params({"num_beams": 4})


def test_bos_is_added_once(model):
    bos = model.prefix_token_id
    assert model.tok_encode("a")[0] == bos
    assert model.tok_encode("<s>a").count(bos) == 1
    assert bos not in model.tok_encode("a", add_special_tokens=False)


@pytest.mark.real_model
@pytest.mark.skipif(not SMOLLM.is_file(), reason=f"the default model is not in the cache ({SMOLLM})")
def test_real_model_knows_capitals(tmp_path):
    with LLM(SMOLLM, n_ctx=256) as llm:
        found = evaluated(RealizarLM(llm), tmp_path)
    assert found["choices"] >= 0.9
    assert found["answers"] >= 0.5
    assert found["likelihood"] < 3
