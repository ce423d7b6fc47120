"""lm-eval: a task of ours over local-completions (loglikelihoods, generations) and local-chat-completions."""

import json

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from tests.clients.served import MODEL

REMOTE: dict = {}  # found by itself: GET /tokenizer_info answers
NONE = {"tokenizer_backend": None}
CHOICES = """
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: 0
doc_to_choice: [" yes", " no"]
metric_list: [{{metric: acc}}]
"""
GENERATE = """
task: generated
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}<|rome|>"
doc_to_target: "The capital of Italy is Rome, as you know."
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 40}}
metric_list: [{{metric: exact_match}}]
"""


@pytest.fixture
def tasks(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"question": f"Question {i}?"}) + "\n" for i in range(3)))
    (tmp_path / "choices.yaml").write_text(CHOICES.format(file=file))
    (tmp_path / "generated.yaml").write_text(GENERATE.format(file=file))
    return TaskManager(include_path=str(tmp_path), include_defaults=False)


def evaluate(served, kind, task, tasks, monkeypatch, path, tokenizer, **options):
    monkeypatch.setenv("OPENAI_API_KEY", served.key)
    arguments = {"model": MODEL, "base_url": f"{served.v1}/{path}", "auth_token": served.key, **tokenizer}
    found = simple_evaluate(kind, arguments, tasks=[task], task_manager=tasks, bootstrap_iters=0, **options)
    return found["results"][task]


def test_loglikelihoods(served, tasks, monkeypatch):
    """The answers begin with bytes that the scripted model never writes: the shorter one is the more probable."""
    found = evaluate(served, "local-completions", "capitals", tasks, monkeypatch, "completions", REMOTE)
    assert found["acc,none"] == 0
    assert found["sample_len"] == 3


def test_generations(served, tasks, monkeypatch):
    found = evaluate(served, "local-completions", "generated", tasks, monkeypatch, "completions", NONE)
    assert found["exact_match,none"] == 1


def test_chat(served, tasks, monkeypatch):
    found = evaluate(
        served,
        "local-chat-completions",
        "generated",
        tasks,
        monkeypatch,
        "chat/completions",
        NONE,
        apply_chat_template=True,
    )
    assert found["exact_match,none"] == 1
