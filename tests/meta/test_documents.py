"""Documents that stay true: generated tables, links, paths, and commands."""

import re
import subprocess
import sys

import pytest

from tests.meta.house import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_generated_tables_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/tables.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_paths_in_the_text_exist(path):
    known = ("realizar/", "plugins/", "tests/", "docs/", "tools/", "asv_bench/", ".ci/")
    for target in re.findall(r"`([\w./-]+)`", path.read_text()):
        if target.startswith(known) and not re.search(r"FORMAT|ARCH|NAME|ISA|NNNN", target):
            assert (ROOT / target).exists(), target


def test_the_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert 'pip install . && realizar run "Why is the sky blue?"' in readme
    assert "pip install '.[test]' && pytest" in readme


def test_the_readme_example_runs_as_it_stands(tmp_path):
    code = re.search(r"```python\n(from realizar import LLM.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.strip().splitlines()) <= 12
    compile(code, "README.md", "exec")
