"""Ctrl-C in the real program: `run` exits with 130, `chat` continues with the next question."""

import os
import re
import signal
import subprocess
import sys

import pytest

from realizar.gguf import GGUFFile, GGUFWriter
from tests.parity.cases import FIXTURES

LLAMA = str(FIXTURES / "llama/model-q4_1.gguf")
# Background jobs of a shell without job control, and their children, ignore SIGINT.
CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from realizar.cli import main
sys.exit(main())
"""
PROGRAM = [sys.executable, "-c", CODE]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def start(*words):
    """Start the program with one-page pipes: it blocks on its reader instead of finishing before the interrupt."""
    return subprocess.Popen(
        [*PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


EOS = 2


def rewrite(path, metadata, silence=None):
    """Return the fixture with more metadata, and a token whose logit is always 0."""
    writer = GGUFWriter(path)
    with GGUFFile(LLAMA) as file:
        for key, value in {**file.metadata, **metadata}.items():
            writer.add(key, value)
        for info in file.tensors.values():
            data = file.data(info.name)
            if silence is not None and info.name == "output.weight":
                data = data.copy()
                data[silence] = 0
            writer.add_tensor(info.name, data, info.shape, info.type)
        writer.write()
    return str(path)


@pytest.fixture
def endless(tmp_path):
    """A model whose best logit is never that of EOS."""
    return rewrite(tmp_path / "endless.gguf", {}, silence=EOS)


@pytest.fixture
def chatty(tmp_path):
    """The same model with a chat template."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return rewrite(tmp_path / "chatty.gguf", {"tokenizer.chat_template": template}, silence=EOS)


def test_run_ends_with_130(endless):
    with start(
        "run", "hello", "--raw", "-m", endless, "-n", "90000", "--n-ctx", "100000", "--temperature", "0"
    ) as process:
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_chat_continues(chatty):
    with start("chat", "-m", chatty, "-n", "3000", "--n-ctx", "8000", "--temperature", "0", "--stats") as process:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        first = process.stderr.readline()
        out, second = process.communicate(b"two\n")
    n_tokens = [int(re.search(rb"decode (\d+) tokens", line)[1]) for line in (first, second)]
    assert process.returncode == 0
    assert n_tokens[0] < 3000
    assert n_tokens[1] > 0
    assert out
