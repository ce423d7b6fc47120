"""Documents that stay true: generated tables, links, paths, and commands."""

import re
import subprocess
import sys

import pytest

from realizar import store
from realizar.testing import check_architecture
from tests.meta.house import CYTHON, ROOT, C, name, sources

MODEL = store.cache_dir() / store.MODELS[store.DEFAULT_MODEL].file
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
        if target.startswith(known) and not re.search(r"FAMILY|FORMAT", target):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", sources(".py", *CYTHON, *C), ids=name)
def test_documents_named_in_sources_exist(path):
    for target in set(re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text())):
        assert (ROOT / target).exists(), target


def test_the_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert 'pip install . && realizar run "Why is the sky blue?"' in readme
    assert "pip install '.[test]' && pytest" in readme


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_in_documents_compiles(path):
    for code in python_blocks(path):
        compile(code, path.name, "exec")


def test_the_plugin_of_the_readme_passes_the_conformance_kit():
    found = {}
    exec(next(code for code in python_blocks(ROOT / "README.md") if "hookimpl" in code), found)
    for architecture in found["realizar_architectures"]():
        check_architecture(architecture, types=("Q8_0",))


@pytest.mark.skipif(not MODEL.is_file(), reason=f"the default model is not in the cache ({MODEL})")
def test_the_ten_lines_of_the_readme_run(capsys):
    code = next(code for code in python_blocks(ROOT / "README.md") if "LLM" in code)
    assert len(code.splitlines()) <= 12
    exec(code, {})
    assert "(" in capsys.readouterr().out.splitlines()[-1]
