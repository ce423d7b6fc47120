"""Answers of models that think: what is shown, and what the conversation goes on with."""

import sys

import pytest

from realizar.cli.thoughts import write_answer
from realizar.engine.output import FinishEvent, ReasoningEvent, TextEvent, TokensEvent

EVENTS = [
    TokensEvent(0, [1], None), ReasoningEvent(0, "well", 1), ReasoningEvent(0, ", so", 2), ReasoningEvent(0, "", 3),
    TextEvent(0, "Yes"), TextEvent(0, "!\x1b[2J"), FinishEvent(None),
]  # fmt: skip


class Answer:
    def __init__(self, events):
        self._events = events

    def events(self):
        return iter(self._events)


@pytest.fixture
def written(capsys, monkeypatch):
    """Write an answer to a terminal or a pipe; returns the answer and what was written."""

    def write(events, is_terminal=True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
        return write_answer(Answer(events)), capsys.readouterr().out

    monkeypatch.setenv("TERM", "xterm")
    return write


def test_a_terminal_shows_thoughts_dimmed(written):
    assert written(EVENTS) == ("Yes!\x1b[2J", "\x1b[2mwell\x1b[0m\x1b[2m, so\x1b[0m\n\nYes!\ufffd[2J\n")


def test_a_pipe_gets_the_answer(written):
    assert written(EVENTS, is_terminal=False) == ("Yes!\x1b[2J", "Yes!\x1b[2J\n")


def test_a_dumb_terminal_gets_no_escapes(written, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert written(EVENTS)[1] == "well, so\n\nYes!\ufffd[2J\n"


def test_answers_without_thoughts(written):
    assert written([TextEvent(0, "Yes")]) == ("Yes", "Yes\n")
    assert written([]) == ("", "\n")


def test_an_answer_that_is_stopped_within_thoughts_is_empty(written):
    assert written(EVENTS[:2])[0] == ""


def test_the_conversation_goes_on_without_thoughts(fake_llm, realizar, typed):
    typed("one\ntwo\n")
    assert realizar("chat")[1] == "you said one\nyou said two\n"
    assert [m["content"] for m in fake_llm.made[0].asked[1][1]] == ["one", "you said one", "two"]
