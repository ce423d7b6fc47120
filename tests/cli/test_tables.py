"""What commands print fits the width of a terminal, and is plain in a pipe."""

import sys

import pytest
from rich.cells import cell_len

from realizar import store
from realizar.cli.tables import write_line, write_table
from realizar.store import StoredModel
from tests.parity.cases import FIXTURES

LLAMA = str(FIXTURES / "llama/model-q4_1.gguf")
MODELS = [
    StoredModel("qwen2.5-coder-0.5b", "Qwen2.5 Coder 0.5B Instruct: writes code", "Apache-2.0", 491_400_064, None),
    StoredModel("hf:some-owner/a-repository/folder/模型-Q4_K_M.gguf", "from the hub", "see its page", 10**9, None),
]


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Make standard output a terminal of some width; returns what reads its lines."""

    def of(width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        return lambda: capsys.readouterr().out.splitlines()

    monkeypatch.setenv("TERM", "dumb")  # rich takes dumb terminals for 80 columns wide
    monkeypatch.setattr(store, "stored_models", lambda: MODELS)
    return of


@pytest.mark.parametrize("width", [44, 80, 200])
@pytest.mark.parametrize("command", ["list", "plugins", f"inspect {LLAMA}", f"verify {LLAMA}", f"plan {LLAMA} -t 1"])
def test_commands_fit_the_terminal(command, width, terminal):
    from realizar.cli import main

    read = terminal(width)
    assert main(command.split()) == 0
    lines = read()
    assert len(lines) > 3
    paths = [line for line in lines if line.startswith("cache folder: ")]  # can be copied
    assert [line for line in lines if cell_len(line) > width and line not in paths] == []
    assert max(map(cell_len, lines)) > width / 4


def test_a_wide_terminal_has_columns_and_a_narrow_one_long_lines(terminal):
    headers, rows = ("NAME", "SIZE", "ABOUT"), [("a" * 15, "5", "word " * 8), ("b", "12", "x")]
    read = terminal(60)
    write_table(headers, rows, right={"SIZE"})
    assert [line.rstrip() for line in read()] == [
        "NAME             SIZE  ABOUT", f"{'a' * 15}     5  word word word word word word word", " " * 23 + "word",
        "b                  12  x",
    ]  # fmt: skip
    read = terminal(30)
    write_table(headers, rows, right={"SIZE"})
    assert [line.rstrip() for line in read()] == [
        "NAME  SIZE  ABOUT", f"{'a' * 15}  5  word word", "  word word word word word", "  word", "b  12  x",
    ]  # fmt: skip


def test_a_pipe_gets_aligned_columns_and_whole_lines(capsys):
    write_table(("NAME", "SIZE", "ABOUT"), [("a", "5", "[bold]long " + "x" * 300)], right={"SIZE"})
    write_line("y" * 300, 4)
    assert capsys.readouterr().out == f"NAME  SIZE  ABOUT\na        5  [bold]long {'x' * 300}\n{'y' * 300}\n"


def test_cells_are_text_and_no_markup_or_escapes(terminal):
    read = terminal(44)
    write_table(("A", "B"), [("[red]x[/red]", "a\x1b[31mb")])
    write_line("[b]:smile:\x1b]0;title\x07", 2)
    assert [line.rstrip() for line in read()][1:] == ["[red]x[/red]  a\ufffd[31mb", "[b]:smile:\ufffd]0;title\ufffd"]


def test_styles_need_a_terminal_that_has_them(terminal, monkeypatch):
    read = terminal(44)
    monkeypatch.setenv("TERM", "xterm")
    write_table(("A", "B"), [("x", "y")])
    assert "\x1b[1m" in read()[0]
