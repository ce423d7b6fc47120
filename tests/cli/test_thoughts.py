"""Answers of models that think: what is shown, and what the conversation goes on with."""

import sys

import pytest

from realizar.calls.reasoning import ReasoningFormat, ReasoningSplitter
from realizar.cli.thoughts import write_answer

THINK = ReasoningFormat("<think>", "</think>")
PIECES = ["<think", ">\nwell", ", so</th", "ink>\n\nYes", "!\x1b[2J"]


@pytest.fixture
def written(capsys, monkeypatch):
    """Write pieces of an answer to a terminal or a pipe; returns the answer and what was written."""

    def write(pieces, is_open=False, is_terminal=True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
        return write_answer(pieces, ReasoningSplitter(THINK, is_open)), capsys.readouterr().out

    monkeypatch.setenv("TERM", "xterm")
    return write


def test_a_terminal_shows_thoughts_dimmed(written):
    assert written(PIECES) == ("Yes!\x1b[2J", "\x1b[2mwell\x1b[0m\x1b[2m, so\x1b[0m\n\nYes!\ufffd[2J\n")
    assert written(["so</think>Yes"], is_open=True)[1] == "\x1b[2mso\x1b[0m\n\nYes\n"


def test_a_pipe_gets_what_the_model_wrote(written):
    assert written(PIECES, is_terminal=False) == ("Yes!\x1b[2J", "".join(PIECES) + "\n")


def test_a_dumb_terminal_gets_no_escapes(written, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert written(PIECES)[1] == "".join(PIECES).replace("\x1b", "\ufffd") + "\n"


def test_answers_without_thoughts(written):
    for text in ("", "Yes", "<think", "a <think>b</think>"):
        assert written([text]) == (text, text + "\n")


def test_an_answer_that_is_stopped_within_thoughts_is_empty(written):
    assert written(["<think>we"])[0] == ""


def test_the_splitter_follows_the_template(fake_llm, realizar, typed):
    fake_llm.chat_template = "<think></think>"
    fake_llm.chat_text = lambda self, messages, chat_template_kwargs: "\n<think>\n"
    typed("so</think> one\ntwo\n")
    assert realizar("chat")[1] == "you said so</think> one\nyou said two\n"
    assert [m["content"] for m in fake_llm.made[0].asked[1][1]] == ["so</think> one", "one", "two"]
    typed("so</think> one\ntwo\n")
    assert realizar("chat", "--regex", "a")[0] == 0
    assert [m["content"] for m in fake_llm.made[1].asked[1][1]][1] == "you said so</think> one"
