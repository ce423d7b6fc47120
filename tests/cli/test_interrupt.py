"""Ctrl-C on the real program: `run` ends with 130, `chat` goes on with the next question."""

import os
import re
import signal
import subprocess
import sys

import pytest

from realizar.gguf import GGUFFile, GGUFWriter
from tests.parity.cases import FIXTURES

LLAMA = str(FIXTURES / "llama/model-q4_1.gguf")
PROGRAM = [sys.executable, "-c", "import sys; from realizar.cli import main; sys.exit(main())"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def start(*words):
    return subprocess.Popen(
        [*PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def rewrite(path, change):
    """The fixture with other metadata."""
    writer = GGUFWriter(path)
    with GGUFFile(LLAMA) as file:
        for key, value in change(dict(file.metadata.items())).items():
            writer.add(key, value)
        for info in file.tensors.values():
            writer.add_tensor(info.name, file.data(info.name), info.shape, info.type)
        writer.write()
    return str(path)


@pytest.fixture
def endless(tmp_path):
    """The fixture without any token that ends a text."""

    def change(metadata):
        tokens = [token.replace("</s>", "<never>") for token in metadata["tokenizer.ggml.tokens"]]
        del metadata["tokenizer.ggml.eos_token_id"]
        return {**metadata, "tokenizer.ggml.tokens": tokens}

    return rewrite(tmp_path / "endless.gguf", change)


@pytest.fixture
def chatty(tmp_path):
    """The fixture with a chat template."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return rewrite(tmp_path / "chatty.gguf", lambda metadata: {**metadata, "tokenizer.chat_template": template})


def test_run_ends_with_130(endless):
    with start("run", "hello", "--raw", "-m", endless, "-n", "90000", "--n-ctx", "100000") as process:
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_chat_goes_on(chatty):
    with start("chat", "-m", chatty, "-n", "1500", "--n-ctx", "4000", "--temperature", "0", "--stats") as process:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        first = process.stderr.readline()
        out, second = process.communicate(b"two\n", timeout=120)
    n_tokens = [int(re.search(rb"decode (\d+) tokens", line)[1]) for line in (first, second)]
    assert process.returncode == 0
    assert n_tokens[0] < 1500
    assert n_tokens[1] > 0
    assert out
