"""Vocabularies for tests: small committed ones, those in ../shared, and those of real models."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from realizar.gguf import GGUFFile
from realizar.store.cache import cache_dir
from realizar.store.models import MODELS
from realizar.tokenizer import Tokenizer
from tests.shared import SHARED

VECTORS = SHARED / "tokenizers"
SEPARATOR = "\n__ggml_vocab_test__\n"
COMMITTED = ("llama", "qwen2", "gemma4")  # one per lossless tokenizer model
NORMALIZING = ("bert", "t5")  # one per lossy tokenizer model


@cache
def committed(name: str) -> dict[str, Any]:
    """Return {"metadata": ..., "examples": [{"text", "ids"}]} of the parity model of that name."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("vectors").joinpath(f"{name}.json").read_text("utf-8"))
    return loaded


@cache
def small(name: str) -> Tokenizer:
    """Return the tokenizer of a committed vocabulary."""
    return Tokenizer.from_gguf(committed(name)["metadata"])


@cache
def of_file(path: Path) -> Tokenizer:
    """Return the tokenizer of a GGUF file."""
    with GGUFFile(path) as file:
        tokenizer = Tokenizer.from_gguf(file.metadata)
        tokenizer.encode("")  # reads everything it needs from the file
    return tokenizer


def real(model: str) -> Path:
    """Return the path of a known model in the cache, whether or not it exists."""
    return cache_dir() / MODELS[model].file
