"""Token ids match llama.cpp's published test vectors and the examples of the parity models."""

import json
from pathlib import Path

import pytest

from realizar.gguf import GGUFFile
from realizar.tokenizer.tokenizer import KINDS
from tests.shared import SHARED, needs_shared
from tests.tokenizer.vocabularies import COMMITTED, NORMALIZING, SEPARATOR, VECTORS, committed, of_file, real, small


@pytest.mark.parametrize("name", [*COMMITTED, *NORMALIZING])
def test_committed_examples(name):
    for example in committed(name)["examples"]:
        assert small(name).encode(example["text"], add_special=True, parse_special=True) == example["ids"]


@needs_shared
@pytest.mark.parametrize("name", ["gpt-2", "starcoder", "falcon", "llama-spm", "phi-3", "bert-bge"])
def test_published_vectors(name):
    _check_vectors(VECTORS / f"ggml-vocab-{name}.gguf", name)


@pytest.mark.real_model
@needs_shared
def test_published_vectors_of_qwen2():
    path = real("qwen2.5-coder-0.5b")
    if not path.is_file():
        pytest.skip(f"the real model is not in the cache ({path}); realizar pull qwen2.5-coder-0.5b")
    _check_vectors(path, "qwen2")


def _check_vectors(path: Path, name: str) -> None:
    # newline="": the texts contain carriage returns
    with (VECTORS / f"ggml-vocab-{name}.gguf.inp").open(encoding="utf-8", newline="") as file:
        texts = file.read().split(SEPARATOR)
    lines = (VECTORS / f"ggml-vocab-{name}.gguf.out").read_text().splitlines()
    assert len(lines) >= 40
    assert len(texts) - len(lines) in (0, 1)  # a separator may follow the last text
    tokenizer = of_file(path)
    for text, line in zip(texts, lines, strict=False):
        ids = [int(i) for i in line.split()]
        assert tokenizer.encode(text, add_special=False) == ids, repr(text)
        if name != "bert-bge":  # case and accents are removed
            assert tokenizer.decode(ids) == text


@needs_shared
@pytest.mark.parametrize("meta", sorted(SHARED.glob("parity*/*/meta.json")), ids=lambda path: path.parent.name)
def test_examples_of_the_parity_models(meta):
    path = meta.with_name("model-q8_0.gguf")
    with GGUFFile(path) as file:
        model = file.metadata["tokenizer.ggml.model"]
    if model not in KINDS:
        pytest.skip(f"tokenizer.ggml.model = {model} is not built yet")
    examples = json.loads(meta.read_text("utf-8"))["tokenization"]
    assert examples
    for example in examples:
        assert of_file(path).encode(example["text"], add_special=True, parse_special=True) == example["ids"]
