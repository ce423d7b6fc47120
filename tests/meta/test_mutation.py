"""The mutants of tools/mutants.py: of code, not of comments; and the annotations that are left out."""

import importlib.util
import sys

import pytest

from tests.meta.house import ROOT

CODE = """/* a + b */
#include "x.h" // 3
static int f(const int *p)
{
    for (int i = 0; i < 8; i++) s += p[i] >> 4 & 0x0F;
    return s - p[2] == 1.5f;
}
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools/mutants.py")
    module = sys.modules["mutants"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


def test_mutants_of_a_header_are_found(tool):
    changes = [(CODE[m.begin : m.end], m.new) for m in tool.mutants(CODE)]
    assert changes == [
        ("0", "1"), ("<", "<="), ("8", "9"), ("+=", "-="), (">>", "<<"), ("4", "5"), ("&", "|"), ("0x0F", "16"),
        ("-", "+"), ("2", "3"), ("==", "!="),
    ]  # fmt: skip


def test_a_mutant_is_applied_and_described(tool):
    mutant = next(m for m in tool.mutants(CODE) if m.new == "<<")
    assert mutant.applied(CODE) == CODE.replace(">>", "<<")
    assert mutant.described(CODE) == "  5: >> -> <<: for (int i = 0; i < 8; i++) s += p[i] >> 4 & 0x0F;"


def test_positions_in_annotations(tool):
    source = "def f(a: int | None) -> list[int]:\n    b: int | None = a | 1\n    return b\n"
    places = tool.annotation_places(source)
    assert {(1, 9), (1, 13), (1, 24), (2, 7)} <= places
    assert (2, 20) not in places  # the value


def test_the_copy_has_the_compiled_modules(tool, tmp_path):
    tool.copy_tree(tmp_path)
    assert (tmp_path / "tools/mutants.py").is_file()
    assert not (tmp_path / ".git").exists()
    assert len(list((tmp_path / "realizar").rglob("*.so"))) == len(list((ROOT / "realizar").rglob("*.so")))


def test_targets_exist():
    for script, folder in (("mutation", ""), ("mutate_c", "realizar/_kernels/include/realizar/scalar")):
        lines = (ROOT / f"tools/{script}.py").read_text().splitlines()
        named = [line.split('"')[1] for line in lines if line.startswith('    "') and '": ' in line]
        assert len(named) >= 5
        assert [name for name in named if not (ROOT / folder / name).is_file()] == []
