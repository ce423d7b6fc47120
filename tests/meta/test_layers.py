"""Import rules that import-linter cannot check: Cython files, plugins, and what `import realizar` loads."""

import ast
import subprocess
import sys

from tests.meta.house import CYTHON, ROOT, cython_imports, offenders, sources, text

PLUGINS = [p for p in sources(".py", folders=("plugins",)) if p.name != "__init__.py"]


def imports(path):
    """Absolute names of all modules that a Python file imports, wherever in it, and of what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def within(module, *packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


def outside_the_kernels(path):
    place = [] if ROOT / "realizar/_kernels" in path.parents else ["not in realizar/_kernels"]
    return place + [f"imports {m}" for m in cython_imports(path) if not within(m, "realizar._kernels")]


def outside_the_plugin_api(path):
    ours = [m for m in imports(path) if within(m, "realizar", "realizar_plugins", "plugins") or m.startswith(".")]
    return [f"imports {m}" for m in ours if not within(m, "realizar.arch", "realizar.graph")]


def cpu_kernels(path):
    free = {"sampling", "diversity", "distribution", "token_filters", "infill", "lookup", "repack"}
    kernels = {module.stem for module in sources(".pyx", folders=("realizar/_kernels",))} - free
    return [f"imports {m}" for m in imports(path) if within(m, *(f"realizar._kernels.{kernel}" for kernel in kernels))]


def test_only_the_cpu_backend_imports_its_kernels():
    above = [ROOT / "realizar/model.py", *sources(".py", folders=("realizar/engine", "realizar/sampling"))]
    others = [
        p for p in sources(".py", folders=("realizar/backends",)) if ROOT / "realizar/backends/cpu" not in p.parents
    ]
    assert offenders([*above, *others], cpu_kernels) == []


def imported_plugins(path):
    return [f"imports {m}" for m in imports(path) if within(m, "realizar_plugins", "plugins")]


def test_cython_modules_import_only_the_kernels():
    assert offenders(sources(*CYTHON, folders=("realizar",)), outside_the_kernels) == []


def test_plugins_import_only_arch_and_graph():
    assert offenders(PLUGINS, outside_the_plugin_api) == []


def test_the_core_imports_no_plugin():
    assert offenders(sources(".py", folders=("realizar",)), imported_plugins) == []


def test_importing_realizar_is_light():
    heavy = ["jinja2", "tokenizers", "sentencepiece", "typer", "rich", "huggingface_hub", "realizar_plugins"]
    code = f"import realizar, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
