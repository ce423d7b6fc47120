"""pyproject.toml is consistent: entry points exist, and so do the extras that documents name."""

import ast
import importlib
import importlib.metadata
import re

import pytest

from tests.meta.house import ROOT

tomllib = pytest.importorskip("tomllib")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLUGINS = sorted(p.stem for p in (ROOT / "plugins").glob("*.py") if p.stem != "__init__")


def test_every_plugin_file_is_an_entry_point():
    assert PROJECT["entry-points"]["realizar"] == {name: f"realizar_plugins.{name}" for name in PLUGINS}


def test_the_console_script_exists():
    module, function = PROJECT["scripts"]["realizar"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_version_is_the_same_everywhere():
    import realizar

    assert PROJECT["version"] == realizar.__version__
    assert f"## {realizar.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_extras_that_the_documents_name_exist():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for names in re.findall(r"\brealizar\[([\w,]+)\]|'\.\[([\w,]+)\]'", document.read_text()):
            assert set("".join(names).split(",")) <= set(PROJECT["optional-dependencies"]), document.name


def dependencies():
    """The requirements in setup.py: of every wheel, and of those that are not for musl."""
    lists = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id.startswith("DEPENDENCIES")
    }
    return lists["DEPENDENCIES"], lists["DEPENDENCIES_WITHOUT_MUSL_WHEELS"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_the_installed_package_requires_the_dependencies():
    every, not_on_musl = map(names, dependencies())
    required = names(line for line in importlib.metadata.requires("realizar") if "extra ==" not in line)
    assert required in (every, every | not_on_musl)


def test_every_dependency_is_explained_in_a_decision():
    reasons = "\n".join(p.read_text() for p in (ROOT / "docs/decisions").glob("*.md"))
    for name in set.union(*map(names, dependencies())):
        assert re.search(rf"\b{name}\b", reasons), name
