"""Documents are up to date: generated tables, links, paths, commands, and the standard terms."""

import re
import subprocess
import sys

import pytest

from realizar import store
from realizar.testing import check_architecture
from tests.isa import LEVELS
from tests.limits.models import LLAMA, TEMPLATE, rewritten
from tests.meta.house import CYTHON, ROOT, C, documents, offenders, sources, text

MODEL = store.cache_dir() / store.MODELS[store.DEFAULT_MODEL].file
TERMS = [
    "speculative decoding", "draft model", "acceptance", "KV cache", "prefix caching", "chunked prefill",
    "continuous batching", "paged attention", "structured output", "tool calling", "function calling",
    "fill-in-the-middle", "parallel sampling", "cross-attention", "sliding window", "MLA", "causal conv1d",
    "batch-invariant", "bitwise reproducible", "memory plan", "ISA level", "beam search", "block table", "preempt",
]  # fmt: skip


def test_the_generated_tables_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/tables.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def dead_links(path):
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text(path))
    return [target for target in targets if not (path.parent / target).exists()]


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_anchors(path):
    for page, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", text(path)):
        target = path.parent / page if page else path
        if target.suffix == ".md" and target.exists() and anchor not in anchors(target):
            yield f"{page}#{anchor}"


def missing_paths(path):
    known = ("realizar/", "plugins/", "tests/", "docs/", "tools/", "asv_bench/", ".ci/")
    targets = [t for t in re.findall(r"`([\w./-]+)`", text(path)) if t.startswith(known)]
    return [t for t in targets if not re.search(r"FAMILY|FORMAT", t) and not (ROOT / t).exists()]


def missing_documents(path):
    return [target for target in set(re.findall(r"\bdocs/[\w/-]+\.md\b", text(path))) if not (ROOT / target).exists()]


def uncompilable(path):
    for code in python_blocks(path):
        try:
            compile(code, path.name, "exec")
        except SyntaxError as error:
            yield str(error)


def test_links_lead_somewhere():
    assert offenders(documents(), dead_links) == []


def test_links_lead_to_headings():
    assert offenders(documents(), dead_anchors) == []


def test_paths_named_in_documents_exist():
    assert offenders(documents(), missing_paths) == []


def test_documents_named_in_sources_exist():
    assert offenders(sources(".py", *CYTHON, *C), missing_documents) == []


def test_the_index_lists_every_page():
    targets = re.findall(r"\]\(([^)#\s]+)\)", text(ROOT / "docs/index.md"))
    listed = {(ROOT / "docs" / target).resolve() for target in targets}
    assert {p for p in (ROOT / "docs").rglob("*.md") if p.name != "index.md"} - listed == set()


def test_the_index_lists_no_decision_twice():
    targets = re.findall(r"^\| \[\d{4}\]\((\S+)\)", text(ROOT / "docs/index.md"), re.MULTILINE)
    assert {target for target in targets if targets.count(target) > 1} == set()


def plain(words):
    """Lower case, with single blanks in place of white space, hyphens and underscores."""
    return re.sub(r"[\s_-]+", " ", words.lower())


def test_the_terms_of_the_field_can_be_found():
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name not in ("index.md", "glossary.md")]
    words = plain(" ".join(text(path) for path in pages))
    assert [term for term in TERMS if plain(term) not in words] == []
    assert [term for term in TERMS if plain(term) not in plain(text(ROOT / "docs/glossary.md"))] == []


def test_the_readme_has_a_hundred_lines():
    assert len(text(ROOT / "README.md").splitlines()) <= 100


def test_python_in_documents_compiles():
    assert offenders(documents(), uncompilable) == []


def test_the_readme_has_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    assert 'pip install . && realizar run "Why is the sky blue?"' in readme
    assert "pip install '.[test]' && pytest -n auto\n" in readme


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", text(path), re.DOTALL)


def test_the_plugin_of_the_readme_passes_the_conformance_kit():
    found = {}
    exec(next(code for code in python_blocks(ROOT / "README.md") if "hookimpl" in code), found)
    for architecture in found["realizar_architectures"]():
        check_architecture(architecture, types=("Q8_0",), isa_levels=LEVELS)


@pytest.mark.skipif(not MODEL.is_file(), reason=f"the default model is not in the cache ({MODEL})")
def test_the_page_on_prompts_runs(capsys):
    for code in python_blocks(ROOT / "docs/prompts.md"):
        exec(code, {})
    assert capsys.readouterr().out.endswith(" True\n")


@pytest.mark.parametrize("model", ["tiny", pytest.param(store.DEFAULT_MODEL, marks=pytest.mark.slow)])
def test_the_ten_lines_of_the_readme_run(model, tmp_path, capsys):
    code = next(code for code in python_blocks(ROOT / "README.md") if "LLM" in code)
    assert len(code.splitlines()) <= 12
    assert f'"{store.DEFAULT_MODEL}"' in code
    if model == "tiny":
        path = rewritten(LLAMA, tmp_path / "tiny.gguf", {"tokenizer.chat_template": TEMPLATE})
        code = code.replace(f'"{store.DEFAULT_MODEL}"', repr(str(path)))
    elif not MODEL.is_file():
        pytest.skip(f"the default model is not in the cache ({MODEL})")
    exec(code, {})
    assert "(" in capsys.readouterr().out.splitlines()[-1]
