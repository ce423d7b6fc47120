"""aider, the command line: a question, an edit of a file, and what it says of errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.served import ANSWER, MODEL

PROGRAM = Path(sys.executable).with_name("aider")
QUIET = ["--no-git", "--no-check-update", "--no-analytics", "--no-show-model-warnings", "--no-pretty", "--yes-always"]


@pytest.fixture
def aider(served, tmp_path):
    def run(*arguments, model=MODEL, key=served.key):
        environment = {
            **os.environ, "HOME": str(tmp_path), "OPENAI_API_BASE": served.v1, "OPENAI_API_KEY": key, "COLUMNS": "400"
        }  # fmt: skip
        command = [PROGRAM, *QUIET, "--model", f"openai/{model}", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    return run


def test_a_question(aider):
    done = aider("--chat-mode", "ask", "--message", "Which is the capital of Italy?")
    assert ANSWER in done.stdout, done.stdout + done.stderr


def test_an_edit(aider, tmp_path):
    file = tmp_path / "city.txt"
    file.write_text("Oslo\n")
    done = aider("--edit-format", "whole", "--message", "Rewrite city.txt", "city.txt")
    assert file.read_text() == "Rome\n", done.stdout + done.stderr


def test_errors(aider):
    assert "gone" in aider("--message", "Hello", model="gone").stdout
    assert "AuthenticationError" in aider("--message", "Hello", key="wrong").stdout
