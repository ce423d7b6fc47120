"""Rules for every file: a first line that says its subject, a length that fits one, and no open ends."""

import ast
import re

from tests.meta.house import CYTHON, ROOT, WEB, C, offenders, sources, text

MAX_LINES, MAX_FUNCTION_LINES = 400, 60
ALL = sources(".py", *CYTHON, *C, *WEB)
OURS = sources(".py", folders=("realizar", "plugins", "tools"))


def missing_first_line(path):
    lines = [line for line in text(path).splitlines() if line and not line.startswith("#!")]
    beginnings = ("/* ", "// ") if path.suffix in C | WEB else ('"""', 'r"""', "# ")
    return [line for line in lines[:1] if not line.startswith(beginnings) or len(line) <= 20]


def too_long(path):
    n_lines = len(text(path).splitlines())
    return [f"{n_lines} lines"] if n_lines > MAX_LINES else []


def long_functions(path):
    functions = [n for n in ast.walk(ast.parse(text(path))) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [f.name for f in functions if f.end_lineno - f.lineno >= MAX_FUNCTION_LINES]


def asserts(path):
    return [f"line {n.lineno}" for n in ast.walk(ast.parse(text(path))) if isinstance(n, ast.Assert)]


def open_ends(path):
    return re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b.*", text(path))


def test_the_first_line_of_every_file_says_its_subject():
    assert offenders(ALL, missing_first_line) == []


def test_no_file_of_the_package_is_longer_than_400_lines():
    assert offenders([p for p in ALL if ROOT / "tests" not in p.parents], too_long) == []


def test_no_function_is_longer_than_60_lines():
    assert offenders(OURS, long_functions) == []


def test_no_assert_checks_input():
    assert offenders(OURS, asserts) == []


def test_no_todo_is_left():
    assert offenders([p for p in ALL if p.name != "test_files.py"], open_ends) == []


def test_every_cython_module_has_a_stub():
    assert offenders(sources(".pyx"), lambda p: [] if p.with_suffix(".pyi").is_file() else ["no .pyi"]) == []


def test_the_rules_find_offenders(tmp_path):
    path = tmp_path / "bad.py"
    body = "".join("    x = 1\n" for _ in range(MAX_LINES))
    path.write_text(f"import os\n\n\ndef f():\n    assert os  # {'TO' + 'DO'}: x\n{body}")
    assert missing_first_line(path) == ["import os"]
    assert too_long(path) == [f"{MAX_LINES + 5} lines"]
    assert long_functions(path) == ["f"]
    assert asserts(path) == ["line 5"]
    assert open_ends(path) == [f"{'TO' + 'DO'}: x"]
