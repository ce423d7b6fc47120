"""`.ci/full` has a stage for every marker that the default suite leaves out, and pytest runs from a bare checkout."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.meta.house import ROOT

tomllib = pytest.importorskip("tomllib")
PYTEST = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
FULL = (ROOT / ".ci/full").read_text()
STAGES = re.search(r"^all=\((.*)\)$", FULL, re.MULTILINE)[1].split()


def test_every_stage_is_defined_and_named_in_the_usage():
    functions = re.findall(r"^(\w+)\(\) \{", FULL, re.MULTILINE)
    assert sorted(functions) == sorted(["environment", "run_tool", *STAGES])
    assert f"some of them: {', '.join(STAGES)}" in FULL


def test_every_marker_that_is_deselected_has_a_stage():
    deselected = set(re.findall(r"not (\w+)", PYTEST["addopts"]))
    markers = {marker.split(":")[0] for marker in PYTEST["markers"]}
    assert deselected == markers - {"real_model"}
    for marker in deselected:
        assert marker in STAGES
        assert f"-m {marker}\n" in FULL


def test_an_unknown_stage_is_refused():
    done = subprocess.run([ROOT / ".ci/full", "slwo"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no stage slwo; stages are isa" in done.stderr


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose kernels are not built, with one file of tests."""
    for path in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/clocks.py", "tests/test_params.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    package = tmp_path / "realizar"
    (package / "_kernels").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the checkout was imported')\n")
    return tmp_path


def without_options_of_pytest():
    """The environment without what `.ci/run` adds to pytest: its limit on coverage holds for the whole suite alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_CORE"))}


def run_in(checkout, *command):
    return subprocess.run(
        [sys.executable, *command],
        cwd=checkout,
        env=without_options_of_pytest(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_python_m_pytest_in_a_checkout_uses_the_installed_package(checkout):
    done = run_in(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_m_pytest_without_an_installed_package_says_what_to_do(checkout):
    code = (
        "import importlib.util, sys, pytest\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'realizar' else find(name, *a)\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))\n"
    )
    done = run_in(checkout, "-c", code)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run pip install '.[test]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
