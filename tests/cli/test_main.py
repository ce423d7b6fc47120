"""Common behaviour of all commands: exit status, one-line errors, --debug, help with an example."""

import os
import subprocess
import sys
import warnings

import pytest

from realizar import __version__
from realizar.cli.app import app
from realizar.errors import ModelNotFoundError
from realizar.planning import devices
from tests.parity.cases import FIXTURES

LLAMA = str(FIXTURES / "llama/model-q4_1.gguf")
COMMANDS = [command.name for command in app.registered_commands]


def test_list_of_commands():
    assert COMMANDS == [
        "run",
        "chat",
        "serve",
        "batch",
        "pull",
        "list",
        "inspect",
        "verify",
        "plan",
        "tokenize",
        "convert",
        "quantize",
        "perplexity",
        "compare",
        "imatrix",
        "control-vector",
        "bench",
        "doctor",
        "devices",
    ]
    assert [group.name for group in app.registered_groups] == ["plugins", "gguf", "lora"]


@pytest.mark.parametrize(
    "words",
    [
        *([], *([name] for name in COMMANDS), ["plugins", "new"]),
        *(["gguf"], *(["gguf", name] for name in ("split", "merge", "set", "hash", "diff"))),
    ],
    ids=lambda w: " ".join(w) or "realizar",
)
def test_help_has_an_example(words, realizar):
    status, out, err = realizar(*words, "--help")
    assert (status, err) == (0, "")
    assert f"Example: realizar {' '.join(words)}".rstrip() in out


def test_no_command_shows_the_help(realizar):
    status, out, err = realizar()
    assert (status, err) == (2, "")
    assert "Usage: realizar" in out


def test_warnings_are_one_line(realizar, monkeypatch):
    texts = []

    def warned():
        texts.append(warnings.formatwarning(UserWarning("no\nroom"), UserWarning, "file.py", 1))
        return [], None

    monkeypatch.setattr(devices, "devices", warned)
    before = warnings.formatwarning
    assert realizar("devices")[0] == 0
    assert texts == ["warning: no room\n"]
    assert warnings.formatwarning is before


@pytest.mark.parametrize("words", [["run"], ["frobnicate"], ["list", "--nope"], ["bench", "x", "-p", "many"]])
def test_usage_errors_are_one_line(words, realizar):
    status, out, err = realizar(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err


def test_values_that_cannot_be_are_usage_errors(realizar):
    for words in (
        "run x -t 0", "run x --kv-type f7", "chat -n 0", "run a b c", "run a b -m c", "run smollm2", "run a.gguf",
        "chat a -m b", "serve", "serve smollm2 --port 99999", "plan MODEL --ctx 0", "plan MODEL --kv-type f7",
        "gguf merge MODEL /absent/out.gguf", "gguf split MODEL /absent/part",
        "quantize MODEL /absent/out.gguf Q8_0", "quantize MODEL /tmp/x.gguf F32 --tensor ffn_down=IQ2_XXS",
        f"serve MODEL --chat-template {__file__}", "bench MODEL --depth 1", "bench MODEL -t 0", "convert a b --type Q1",
        "batch a", "batch a b --n-seqs 0",
    ):  # fmt: skip
        status, out, err = realizar(*words.replace("MODEL", LLAMA).split())
        assert (status, out, err.count("\n")) == (2, "", 1), (words, err)


def test_failures_are_no_usage_errors(realizar, tmp_path):
    absent = str(tmp_path / "absent.gguf")
    for words in (
        ["pull", "absent"], ["inspect", absent], ["verify", absent], ["plan", absent], ["bench", absent],
        ["tokenize", "x", "-m", absent], ["run", absent, "x"], ["chat", absent], ["convert", absent, "out.gguf"],
    ):  # fmt: skip
        status, _, err = realizar(*words)
        assert (status, err.startswith("error: ") or words[0] == "verify") == (1, True), (words, err)


def test_the_version(realizar):
    assert realizar("--version") == (0, f"realizar {__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "realizar", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"realizar {__version__}\n")


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "realizar inspect smo", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "realizar inspect smo"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "realizar inspect smo", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_models(shell, variables):
    environ = {**os.environ, "_REALIZAR_COMPLETE": f"complete_{shell}", **variables}
    done = subprocess.run([sys.executable, "-m", "realizar"], capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "smollm2" in done.stdout
    assert "qwen" not in done.stdout


def test_errors_are_one_line_without_traceback(fake_llm, realizar):
    status, out, err = realizar("run", "hello", "-m", "missing")
    assert (status, out) == (1, "")
    assert err == "error: missing: is neither a file nor a known name\n"


@pytest.mark.parametrize(
    "words", [["--debug", "run", "hello"], ["run", "--debug", "hello"], ["run", "hello", "--debug"]]
)
def test_debug_shows_the_traceback(words, fake_llm, realizar):
    with pytest.raises(ModelNotFoundError):
        realizar(*words, "-m", "missing")


def test_debug_after_two_dashes_is_text(fake_llm, realizar):
    assert realizar("run", "--", "--debug")[1] == "you said --debug\n"


def test_internal_errors_are_reported_as_bugs(fake_llm, realizar, monkeypatch):
    def broken(self, text):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(fake_llm, "tokenize", broken)
    status, _, err = realizar("run", "hello")
    assert status == 1
    assert err.startswith("error: ZeroDivisionError: oops (a bug in realizar")


def test_ctrl_c_is_130(fake_llm, realizar):
    def interrupt():
        raise KeyboardInterrupt

    fake_llm.during[2] = interrupt
    status, out, err = realizar("run", "hello")
    assert (status, out, err) == (130, "you said", "")
    assert fake_llm.made[0].closed


def run_python(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, **more)


@pytest.mark.parametrize("buffering", ["", "1"])
def test_closed_pipe_exits_quietly(buffering):
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from realizar.cli import main; sys.exit(main(['list']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=write,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": buffering},
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("words", "status", "err"),
    [
        ("list >&-", 0, ""), ("batch - /dev/null <&-", 0, "0 answered\n"),
        ("chat MODEL -t 1 <&-", 1, "no chat template"),
        ("list >/dev/full", 1, "error: [Errno 28] No space left on device\n"), ("frobnicate 2>&-", 2, ""),
    ],
)  # fmt: skip
def test_standard_streams_that_are_closed_or_full(words, status, err):
    if "full" in words and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    command = f"{sys.executable} -m realizar {words.replace('MODEL', LLAMA)}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")
    assert err in done.stderr
    assert done.stderr.count("\n") == bool(err)


def test_output_that_the_terminal_cannot_encode():
    code = "import sys; from realizar.cli import main; app=main(['list']); print('\\u2603')"
    done = run_python(code, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.endswith(b"?" + os.linesep.encode())


def test_help_imports_no_model_code():
    code = (
        "import sys; from realizar.cli import main; main(['list', '--help']);"
        "bad = {'jinja2', 'numpy', 'tokenizers', 'sentencepiece', 'huggingface_hub', 'realizar.llm', 'realizar.calls',"
        "'rich.progress', 'prompt_toolkit', 'fastapi'} & set(sys.modules);"
        "assert not bad, bad"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr.decode()
