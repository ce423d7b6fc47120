"""The commands of `realizar chat`, typed or from a pipe, and the files they write and read."""

import json

import pytest

from realizar.cli.chat_commands import HELP
from realizar.cli.conversation import Conversation
from realizar.errors import ParameterError


def contents(llm):
    return [[m["content"] for m in messages] for _, messages, _ in llm.asked]


def test_commands_change_the_conversation(fake_llm, realizar, typed):
    typed("/system Be brief.\none\n/system\n/clear\n/system ''\ntwo\n/exit\nthree\n")
    status, out, err = realizar("chat")
    assert (status, out) == (0, "you said one\nyou said two\n")
    assert contents(fake_llm.made[0]) == [["Be brief.", "one"], ["two"]]
    assert err.splitlines() == [
        "(system message: Be brief.)", "(system message: Be brief.)", "(forgot all turns)", "(no system message)",
    ]  # fmt: skip


def test_regenerate_asks_again_without_the_seed(fake_llm, realizar, typed):
    typed("/regenerate\none\ntwo\n/regenerate\n")
    status, out, err = realizar("chat", "--seed", "5")
    assert (status, out, err) == (
        0, "you said one\nyou said two\nyou said two\n", "(no question to answer again)\n"
    )  # fmt: skip
    assert contents(fake_llm.made[0])[2] == contents(fake_llm.made[0])[1] == ["one", "you said one", "two"]
    assert [params.seed for _, _, params in fake_llm.made[0].asked] == [5, 5, None]


def test_what_is_no_command_is_a_question(fake_llm, realizar, typed):
    typed("/usr/bin/env?\n /help\n/bogus me\n/help\n")
    status, out, err = realizar("chat")
    assert (status, out) == (0, "you said /usr/bin/env?\nyou said /help\n")
    assert err == f"(no command /bogus; /help lists them)\n{HELP}\n"


def test_the_help_fits_44_columns():
    assert max(map(len, HELP.splitlines())) <= 44


def test_a_saved_conversation_is_loaded(fake_llm, realizar, typed, tmp_path):
    path = tmp_path / "some talk.json"
    typed(f"one\n/save '{path}'\ntwo\n/save {path}\n")
    assert realizar("chat", "--system", "S")[::2] == (
        0, f"(saved 2 messages to {path})\n(saved 4 messages to {path})\n"
    )  # fmt: skip
    body = json.loads(path.read_text())
    assert (body["model"], [m["role"] for m in body["messages"]]) == (
        "smollm2", ["system", "user", "assistant", "user", "assistant"]
    )  # fmt: skip
    typed(f"x\n/load {path}\nthree\n")
    assert realizar("chat")[2] == f"(loaded 4 messages from {path})\n"
    assert contents(fake_llm.made[1])[1] == ["S", "one", "you said one", "two", "you said two", "three"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("/save", "/save needs the name of a file"), ("/load", "/load needs the name of a file"),
        ("/load absent", "absent: cannot be read as a conversation"), ("/load .", "cannot be read as a conversation"),
        ("/save absent/x", "absent/x: cannot be written"), ("/load a\0b", "cannot be read as a conversation"),
        ("/save ~nobody-here/x", "/save ~nobody-here/x: "), ("/save notes", "notes: exists, and is no conversation"),
        ("/load notes", "notes: cannot be read as a conversation"), ("/load list", "list: is no conversation"),
        ("/load tool", "tool: is no conversation"), ("/load deep", "deep: cannot be read as a conversation"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(command, says, fake_llm, realizar, typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("notes", "mine"), ("list", "[]"), ("deep", "[" * 100_000), ("tool", '{"messages": [{"role": "tool"}]}'),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    typed(f"one\n{command}\ntwo\n")
    status, out, err = realizar("chat")
    assert (status, out, err.count("\n")) == (0, "you said one\nyou said two\n", 1)
    assert says in err
    assert contents(fake_llm.made[0])[1] == ["one", "you said one", "two"]
    assert (tmp_path / "notes").read_text() == "mine"


def test_any_text_can_be_saved(tmp_path):
    conversation, path = Conversation("grüß 你好"), tmp_path / "x"
    conversation.ask('half a pair \ud83d, "quotes", \\')
    conversation.save(path, "m")
    loaded = Conversation()
    loaded.load(path)
    assert loaded.messages == conversation.messages
    assert "grüß 你好" in path.read_text(encoding="utf-8")


def test_turns_are_dropped_by_questions(tmp_path):
    conversation = Conversation()
    conversation.turns = [{"role": role, "content": role} for role in ("assistant", "user", "assistant", "user")]
    assert [conversation.drop_oldest(), len(conversation.turns)] == [True, 3]
    assert [conversation.drop_oldest(), len(conversation.turns)] == [True, 1]
    assert [conversation.drop_oldest(), conversation.take_question(), conversation.take_question()] == [
        False, "user", None
    ]  # fmt: skip


def test_messages_of_other_roles_are_no_conversation(tmp_path):
    (tmp_path / "x").write_text('{"messages": [{"role": "user", "content": null}]}')
    with pytest.raises(ParameterError, match="is no conversation"):
        Conversation().load(tmp_path / "x")
