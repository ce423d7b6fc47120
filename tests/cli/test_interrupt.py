"""Ctrl-C on the real program: `run` ends with 130, `chat` goes on with the next question."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from realizar.gguf import GGUFFile, GGUFWriter
from tests.parity.cases import FIXTURES

LLAMA = str(FIXTURES / "llama/model-q4_1.gguf")
PROGRAM = [sys.executable, "-c", "import sys; from realizar.cli import main; sys.exit(main())"]
OPTIONS = ["-n", "100000", "--n-ctx", "100000", "--temperature", "0"]
fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs pipes of a chosen size (Linux)")


class Started:
    """The program, whose output goes into a pipe that is soon full: an answer is not over before it is read."""

    def __init__(self, *words):
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            [*PROGRAM, *words], stdin=subprocess.PIPE, stdout=write, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        os.close(write)
        self.out = os.fdopen(read, "rb", buffering=0)

    def interrupt(self):
        """Ctrl-C in the middle of an answer; what it has said is then read, and all that comes later."""
        assert self.out.read(1)
        self.process.send_signal(signal.SIGINT)
        threading.Thread(target=self.out.read, daemon=True).start()


def test_run_ends_with_130():
    run = Started("run", "hello", "--raw", "-m", LLAMA, *OPTIONS)
    run.interrupt()
    _, err = run.process.communicate(timeout=60)
    assert run.process.returncode == 130
    assert b"Traceback" not in err


@pytest.fixture
def chatty(tmp_path):
    """The fixture with a chat template."""
    writer = GGUFWriter(tmp_path / "chatty.gguf")
    with GGUFFile(LLAMA) as file:
        for key, value in file.metadata.items():
            writer.add(key, value)
        writer.add("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}")
        for info in file.tensors.values():
            writer.add_tensor(info.name, file.data(info.name), info.shape, info.type)
        writer.write()
    return str(writer.path)


def test_chat_goes_on(chatty):
    chat = Started("chat", "-m", chatty, "--stats", *OPTIONS)
    chat.process.stdin.write(b"one\n")
    chat.process.stdin.flush()
    chat.interrupt()
    first = chat.process.stderr.readline()
    _, second = chat.process.communicate(b"two\n", timeout=120)
    assert chat.process.returncode == 0
    assert [re.search(rb"decode (\d+) tokens", line) is not None for line in (first, second)] == [True, True]
