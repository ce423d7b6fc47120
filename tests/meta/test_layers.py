"""The walls that import-linter cannot see: Cython files, plugins, and what an import may cost."""

import ast
import subprocess
import sys

import pytest

from tests.meta.house import CYTHON, ROOT, cython_imports, name, sources

PLUGINS = [p for p in sources(".py", folders=("plugins",)) if p.name != "__init__.py"]


def imports(path):
    """Absolute names of all modules that a Python file imports, wherever in it, and of what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def within(module, *packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", sources(*CYTHON, folders=("realizar",)), ids=name)
def test_compiled_modules_import_only_the_kernels(path):
    assert ROOT / "realizar/_kernels" in path.parents
    assert [m for m in cython_imports(path) if not within(m, "realizar._kernels")] == []


@pytest.mark.parametrize("path", PLUGINS, ids=name)
def test_plugins_import_only_arch_and_graph(path):
    ours = [m for m in imports(path) if within(m, "realizar", "realizar_plugins", "plugins") or m.startswith(".")]
    assert [m for m in ours if not within(m, "realizar.arch", "realizar.graph")] == []


def test_only_the_cpu_backend_imports_its_kernels():
    free = {"sampling", "chance", "shape", "rules", "infill", "lookup"}
    above = [ROOT / "realizar/model.py", *sources(".py", folders=("realizar/engine", "realizar/sampling"))]
    kernels = {f"realizar._kernels.{path.stem}" for path in sources(".pyx", folders=("realizar/_kernels",))}
    theirs = kernels - {f"realizar._kernels.{kernel}" for kernel in free}
    blocks = (ROOT / "realizar/sampling/chain.py", "realizar._kernels.blocks")  # a type, until logits bring summaries
    found = [(path, m) for path in above for m in imports(path) & theirs if (path, m) != blocks]
    assert found == []


@pytest.mark.parametrize("path", sources(".py", folders=("realizar",)), ids=name)
def test_the_core_imports_no_plugin(path):
    assert [m for m in imports(path) if within(m, "realizar_plugins", "plugins")] == []


def test_importing_realizar_is_light():
    heavy = ["jinja2", "tokenizers", "sentencepiece", "typer", "rich", "huggingface_hub", "realizar_plugins"]
    code = f"import realizar, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
