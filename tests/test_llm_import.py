"""Lazy imports: names of the package and heavy libraries are imported on first use."""

import subprocess
import sys

LATE = ("jinja2", "tokenizers", "sentencepiece", "typer", "rich", "huggingface_hub")


def loaded(code):
    """Return the modules loaded by a fresh interpreter after some code."""
    code += "\nimport sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_is_lazy():
    modules = loaded("import realizar")
    assert not modules & {"numpy", "pluggy", *LATE}
    assert {name for name in modules if name.startswith("realizar.")} == set()


def test_importing_llm_loads_no_tokenizer_library():
    assert not loaded("from realizar import LLM, SamplingParams") & set(LATE)
