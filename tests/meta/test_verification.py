"""The verification matrix has a row for every requirement, names tests that exist, and its page is up to date."""

import importlib.util
import json

import pytest

from tests.meta.house import ROOT


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("verification", ROOT / "tools/verification.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_matrix_is_complete_and_its_page_up_to_date(tool):
    assert tool.main(["--check"]) == 0
    assert len(tool.requirements()) >= 14


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"tests": ["tests/kernels/test_ops.py::test_that_is_gone"]}, "R1: there is no test"),
        ({"tests": ["tests/gone.py::"]}, "R1: there is no test tests/gone.py::"),
        ({"tests": [], "manual": ""}, "R1: nothing verifies it"),
        ({"id": "R99"}, "requirements are"),
    ],
)
def test_faults_are_found(tool, tmp_path, changed, fault):
    rows = tool.rows()
    rows[0].update(changed)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/verification.json").write_text(json.dumps(rows))
    (tmp_path / "docs/requirements.md").write_text((ROOT / "docs/requirements.md").read_text())
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    tool.ROOT = tmp_path
    (found,) = tool.faults()
    assert found.startswith(fault)


def test_an_outdated_page_is_found(tool, tmp_path, capsys):
    tool.PAGE = tmp_path / "verification.md"
    tool.PAGE.write_text("old")
    assert tool.main(["--check"]) == 1
    assert "outdated" in capsys.readouterr().err
