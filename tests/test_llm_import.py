"""What an import costs: names of the package are looked up when used, libraries are loaded when needed."""

import subprocess
import sys

LATE = ("jinja2", "tokenizers", "sentencepiece", "typer", "rich", "huggingface_hub")


def loaded(code):
    """Names of all modules that a fresh interpreter has loaded after some code."""
    code += "\nimport sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_next_to_nothing():
    modules = loaded("import realizar")
    assert not modules & {"numpy", "pluggy", *LATE}
    assert {name for name in modules if name.startswith("realizar.")} == set()


def test_importing_the_facade_loads_no_library_of_text():
    assert not loaded("from realizar import LLM, SamplingParams") & set(LATE)
