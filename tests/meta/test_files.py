"""Rules for every file: it says what it is about, has one subject, and leaves nothing open."""

import ast
import re

import pytest

from tests.meta.house import CYTHON, ROOT, C, name, sources

MAX_LINES, MAX_FUNCTION_LINES = 400, 60
ALL = sources(".py", *CYTHON, *C)
OURS = sources(".py", folders=("realizar", "plugins", "tools"))


def first_line(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line and not line.startswith("#!")), "")


@pytest.mark.parametrize("path", [p for p in ALL if p.read_text(encoding="utf-8").strip()], ids=name)
def test_the_first_line_says_what_the_file_is_about(path):
    line = first_line(path)
    assert line.startswith(("/* ", "// ") if path.suffix in C else ('"""', 'r"""', "# ")), line
    assert len(line) > 20, line


@pytest.mark.parametrize("path", [p for p in ALL if ROOT / "tests" not in p.parents], ids=name)
def test_a_file_is_not_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", OURS, ids=name)
def test_a_function_fits_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", OURS, ids=name)
def test_input_is_never_checked_by_assert(path):
    asserts = [n.lineno for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Assert)]
    assert asserts == []


@pytest.mark.parametrize("path", [p for p in ALL if p.name != "test_files.py"], ids=name)
def test_nothing_is_left_open(path):
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b.*", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sources(".pyx"), ids=name)
def test_a_compiled_module_has_a_stub(path):
    assert path.with_suffix(".pyi").is_file()
