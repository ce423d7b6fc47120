"""`realizar chat` in a pseudo-terminal of 44 columns: keys, history, Ctrl-C, Ctrl-D."""

import os
import stat
import sys

import pytest

from tests.cli.test_interrupt import CODE, chatty  # noqa: F401  (a fixture)

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
WITHOUT = "import sys; sys.modules['prompt_toolkit'] = None\n"
PROMPT = r"\x1b\[\?2004h"  # what prompt_toolkit writes when it begins to read
LONG = ("-n", "7000", "--n-ctx", "8000", "--temperature", "0")


@pytest.fixture
def terminal(chatty, tmp_path):  # noqa: F811
    """Start a conversation; its `sent` waits for the prompt and types."""

    def start(*words, code=CODE, term="xterm"):
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environ |= {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": term, "PROMPT_TOOLKIT_NO_CPR": "1"}
        child = pexpect.spawn(
            sys.executable, ["-c", code, "chat", chatty, "-t", "1", *words], env=environ, timeout=None,
            dimensions=(24, 44), encoding="utf-8", codec_errors="replace", cwd=tmp_path,
        )  # fmt: skip
        children.append(child)
        return child

    children = []
    yield start
    for child in children:
        child.close(force=True)


def ended(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_keys_and_history(terminal, tmp_path):
    child = terminal("-n", "3")
    child.expect(PROMPT)
    child.send("first\x0asecond\\\rthird\r")  # Ctrl-J, and a backslash before Enter, begin new lines
    child.expect(f"third.*{PROMPT}")
    child.send("\x1b[200~pasted\rlines\x1b[201~\r")
    child.expect(PROMPT)
    child.send("half a line\x03")  # Ctrl-C
    child.expect(f"ends the conversation.*{PROMPT}")
    child.send("/sa\t")
    child.expect("/save")
    child.send(" talk.json\r")
    child.expect(r"saved 4 messages")
    child.send("\x04")  # Ctrl-D
    assert ended(child) == 0
    path = tmp_path / "state/realizar/chat_history"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o700, 0o600]
    text = path.read_text()
    assert "+first\n+second\n+third\n" in text
    assert "+pasted\n+lines\n" in text
    assert "half a line" not in text
    saved = (tmp_path / "talk.json").read_text()
    assert "first\\nsecond\\nthird" in saved
    child = terminal("-n", "3")
    child.expect(PROMPT)
    child.send("\x1b[A")  # the last line of the last conversation
    child.expect(r"/save talk\.json")
    child.send("\x03\x04")
    assert ended(child) == 0


def test_ctrl_c_stops_the_answer_and_keeps_it(terminal, tmp_path):
    child = terminal(*LONG)
    child.expect(PROMPT)
    child.send("one\r")
    child.expect(r"\x1b\[\?2004l.{3}")  # the first characters of the answer, after the prompt is left
    child.send("\x03")
    child.expect(PROMPT)
    child.send("/save talk.json\r")
    child.expect("saved 2 messages")
    child.send("/exit\r")
    assert ended(child) == 0


def test_without_prompt_toolkit(terminal, tmp_path):
    child = terminal("-n", "3", code=WITHOUT + CODE)
    child.expect(r"pip install 'realizar\[cli\]'")
    child.expect("> ")
    child.sendline("one\\")
    child.expect("  ")
    child.sendline("two")
    child.expect("> ")
    child.send("x\x03")
    child.expect("ends the conversation")
    child.sendline("/save talk.json")
    child.expect("saved 2 messages")
    child.sendeof()
    assert ended(child) == 0
    assert "one\\ntwo" in (tmp_path / "talk.json").read_text()


def test_an_error_does_not_end_the_conversation(terminal):
    child = terminal("-n", "3", "--n-ctx", "64", term="dumb")
    child.expect("> ")
    child.send("long " * 60 + "\r")
    child.expect("error: ")
    child.expect("> ")
    child.send("/regenerate\r")
    child.expect("no question to answer again")
    child.send("\x04")
    assert ended(child) == 0


def test_a_history_that_cannot_be_kept(terminal, tmp_path):
    (tmp_path / "state").write_text("a file")
    child = terminal("-n", "3")
    child.expect("no history: ")
    child.expect(PROMPT)
    child.send("one\r")
    child.expect(PROMPT)
    child.send("\x04")
    assert ended(child) == 0
