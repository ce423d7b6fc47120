"""llm, the command line: a model of its file extra-openai-models.yaml, as its documentation describes it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.served import ANSWER, MODEL

FUNCTION = """
def temperature(city: str) -> str:
    "Return the temperature in a city."
    return "17"
"""


@pytest.fixture
def llm(served, tmp_path, monkeypatch):
    rows = [("own", MODEL, "own"), ("gone", "gone", "own"), ("barred", MODEL, "barred")]
    (tmp_path / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: {name}\n  model_name: {model}\n  api_base: {served.v1}\n  api_key_name: {key}\n"
            "  supports_tools: true\n  supports_schema: true\n"
            for name, model, key in rows
        )
    )
    (tmp_path / "keys.json").write_text(f'{{"own": "{served.key}", "barred": "wrong"}}')
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))

    def run(*arguments):
        program = Path(sys.executable).with_name("llm")
        return subprocess.run([program, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)

    return run


def test_an_answer(llm):
    assert llm("-m", "own", "Which is the capital of Italy?").stdout.strip() == ANSWER
    assert llm("-m", "own", "--no-stream", "Which is the capital of Italy?").stdout.strip() == ANSWER


def test_a_function_is_called_and_its_result_used(llm):
    done = llm("-m", "own", "--functions", FUNCTION, "How warm is it in Oslo?")
    assert "It is 17 degrees in Oslo." in done.stdout, done.stderr


def test_a_schema(llm):
    done = llm("-m", "own", "--schema", "name, country", "Describe Rome.")
    assert done.stdout.replace(" ", "").strip() == '{"name":"Rome","country":"Italy"}', done.stderr


def test_a_conversation_goes_on(llm):
    llm("-m", "own", "Which is the capital of Italy?")
    assert llm("-c", "And again?").stdout.strip() == ANSWER


def test_errors(llm):
    gone, barred = llm("-m", "gone", "Hello"), llm("-m", "barred", "Hello")
    assert (gone.returncode, barred.returncode) == (1, 1)
    assert "gone" in gone.stderr
    assert "401" in barred.stderr or "key" in barred.stderr
