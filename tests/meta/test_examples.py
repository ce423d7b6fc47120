"""The Python of the pages runs with a tiny model in place of the named ones; exceptions are listed with reasons."""

import re

import pytest

from tests.limits.models import LLAMA, TEMPLATE, rewritten
from tests.meta.house import ROOT

ELSEWHERE = ("plugins.md", "hooks.md", "prompts.md")  # tests/meta/test_plugin_documents.py, test_documents.py
# page -> the blocks, by number, that do not run here, and why.
NOT_RUN = {
    "adapters.md": ({0, 1}, "needs the files of an adapter and of a control vector"),
    "benchmarks.md": ({0}, "needs asv_bench/ in the path"),
    "cache.md": ({0}, "a part of a program"),
    "chat.md": ({1, 2, 3, 4}, "parts of a program"),
    "deployment.md": ({1, 2}, "needs the extra ray"),
    "embeddings.md": ({0}, "needs a reranker"),
    "gpu.md": ({0, 1}, "takes minutes on a GPU in software"),
    "infill.md": ({0}, "needs tokens for the middle"),
    "scoring.md": ({1}, "needs the extra lm-eval"),
    "server.md": ({0}, "needs a running server; tutorials/serve.md has one"),
    "speculation.md": ({1}, "needs a draft block"),
    "tools.md": ({0}, "needs a template with tools"),
}
BLOCKS = {
    page.name: re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.name not in ELSEWHERE and "```python" in page.read_text()
}
RUN = [(name, n) for name, blocks in BLOCKS.items() if len(NOT_RUN.get(name, (set(),))[0]) < (n := len(blocks))]
MODEL = re.compile(r'"(?:smollm2|qwen2\.5-coder-0\.5b|hf:[^"]*|[\w./-]+\.gguf)"')


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    return str(rewritten(LLAMA, path, {"tokenizer.chat_template": TEMPLATE}))


@pytest.mark.parametrize(("name", "n"), RUN)
def test_the_blocks_of_a_page_run(tiny, name, n):
    names = {"__name__": "example"}
    for number in sorted(set(range(n)) - NOT_RUN.get(name, (set(),))[0]):
        code = MODEL.sub(lambda _: repr(tiny), BLOCKS[name][number])
        exec(compile(code, f"docs/{name}, block {number}", "exec"), names)


def test_the_list_of_exceptions_is_up_to_date():
    for name, (numbers, _) in NOT_RUN.items():
        assert numbers <= set(range(len(BLOCKS[name]))), name
