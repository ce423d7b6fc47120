"""SIGTERM and SIGHUP in the real program: half-written files are deleted, and old ones stay."""

import shutil
import signal
import subprocess
import sys

import pytest

from realizar.cli import main
from tests.limits.models import LLAMA

# Says when the first tensor is written, and then waits for the signal, which whoever runs the tests may ignore (nohup).
CODE = """
import signal
import sys
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
from realizar.gguf import GGUFWriter
write = GGUFWriter._write_tensor
def wait(self, file, name):
    write(self, file, name)
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
GGUFWriter._write_tensor = wait
from realizar.cli import main
sys.exit(main())
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("quantize", "model.gguf", "out.gguf", "Q8_0"), signal.SIGTERM),
        (("gguf", "split", "model.gguf", "out"), signal.SIGTERM),
        (("gguf", "set", "model.gguf", "general.name", "x", "--type", "STRING"), signal.SIGHUP),
    ],
)
def test_a_signal_leaves_what_was_there(words, number, tmp_path):
    shutil.copyfile(LLAMA, tmp_path / "model.gguf")
    (tmp_path / "out.gguf").write_bytes(b"old")
    (tmp_path / "out-00001-of-00001.gguf").write_bytes(b"old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    program = [sys.executable, "-c", CODE, *words]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == len(before) + 1
        process.send_signal(number)
        assert process.wait() == 128 + number
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_handlers_are_restored(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert main(["--version"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
