"""Greedy completions and logits of the real models compared with llama.cpp's, with exact and int8 activations."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.store.cache import cache_dir, has_size
from realizar.store.models import MODELS
from tests.peers.dequantized import write_dequantized
from tests.peers.llamacpp import LlamaCpp
from tests.peers.prompts import PROMPTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N_TOKENS = 64
N_CTX = 256
N_THREADS = 2
PARAMS = SamplingParams(temperature=0.0, max_tokens=N_TOKENS)
MAX_GAP = 0.25  # largest gap in the exact logits at which completions may diverge

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=list(MODELS))
def path(request: pytest.FixtureRequest) -> Path:
    """File of a real model."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra: peers)")
    known = MODELS[request.param]
    file = cache_dir() / known.file
    if not has_size(file, known.n_bytes):
        pytest.skip(f"{known.name} is not in the cache; fetch it with: realizar pull {known.name}")
    return file


@pytest.fixture(scope="module")
def exact(path: Path) -> Iterator[LLM]:
    """The model with float32 activations and KV cache."""
    with _ours(path, activations="f32", kv_type="f32") as llm:
        yield llm


@pytest.fixture(scope="module")
def prompts(exact: LLM) -> list[list[int]]:
    """Token ids of the prompts."""
    return [exact.tokenize(prompt) for prompt in PROMPTS]


@pytest.fixture
def dequantized(path: Path, tmp_path: Path) -> Iterator[Path]:
    """A file of the model with float32 weights; removed after each test, since it takes up to 2 GB."""
    file = tmp_path / "f32.gguf"
    write_dequantized(path, file)
    yield file
    file.unlink()


@pytest.fixture(scope="module")
def exact_texts(exact: LLM, prompts: list[list[int]]) -> list[list[int]]:
    """Completions of the exact model."""
    return _greedy(exact, prompts)


def _ours(path: Path, **params: str) -> LLM:
    return LLM(path, n_threads=N_THREADS, n_ctx=N_CTX, n_seqs=len(PROMPTS), **params)


def _greedy(llm: LLM, prompts: list[list[int]]) -> list[list[int]]:
    return [completion.token_ids for completion in llm.generate(prompts, PARAMS)]


@contextmanager
def _theirs(path: Path, kv_type: str, prompts: list[list[int]], flash: bool = False) -> Iterator[LlamaCpp]:
    """llama.cpp with a file; checks that both tokenize the prompts alike."""
    llama = LlamaCpp(path, kv_type, N_CTX, len(PROMPTS), flash)
    try:
        assert [llama.tokenize(prompt) for prompt in PROMPTS] == prompts
        yield llama
    finally:
        llama.close()


def _gaps(exact: LLM, prompts: list[list[int]], ours: list[list[int]], theirs: list[list[int]]) -> dict[int, float]:
    """Prompt index -> gap in the exact logits between the first two tokens that differ, if any do."""
    gaps = {}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a != b:
            at = next(at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
            logits = exact.logits(prompts[i] + a[:at])[-1]
            gaps[i] = round(float(abs(logits[a[at]] - logits[b[at]])), 3)
    return gaps


def _report(what: str, gaps: dict[int, float]) -> str:
    report = f"{what}: {len(PROMPTS) - len(gaps)} of {len(PROMPTS)} equal; {{prompt: gap}} of the others: {gaps}"
    print(report)
    return report


def _relative_error(logits: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(logits - exact) / np.linalg.norm(exact))


def test_exact_completions_equal_those_of_the_dequantized_file(exact, prompts, exact_texts, dequantized):
    with _theirs(dequantized, "f32", prompts) as llama:
        gaps = _gaps(exact, prompts, exact_texts, llama.greedy(prompts, N_TOKENS))
    report = _report("exact and llama.cpp on float32 weights", gaps)
    assert len(gaps) * 20 <= len(PROMPTS), report


def test_int8_completions_differ_only_at_small_gaps(exact, prompts, path):
    with _ours(path, activations="int8", kv_type="f16") as llm:
        ours = _greedy(llm, prompts)
    with _theirs(path, "f16", prompts) as llama:
        theirs = llama.greedy(prompts, N_TOKENS)
    with _theirs(path, "f16", prompts, flash=True) as llama:
        control = llama.greedy(prompts, N_TOKENS)
    gaps = _gaps(exact, prompts, ours, theirs)
    report = _report("int8 and llama.cpp", gaps)
    report += "\n" + _report("llama.cpp with and without flash attention", _gaps(exact, prompts, control, theirs))
    if len(gaps) * 20 > 8 * len(PROMPTS) or max(gaps.values(), default=0.0) > MAX_GAP:
        pytest.xfail(f"rounding decides; see docs/performance-notes.md\n{report}")


def test_int8_rounds_no_worse_than_llamacpp(exact, prompts, exact_texts, path):
    errors = []
    with _ours(path, activations="int8", kv_type="f16") as llm, _theirs(path, "f16", prompts) as llama:
        for prompt, text in zip(prompts, exact_texts, strict=True):
            tokens = prompt + text
            logits = exact.logits(tokens)
            errors.append([_relative_error(other.logits(tokens), logits) for other in (llm, llama)])
    ours, theirs = np.median(errors, axis=0)  # not the mean, which one completion past its end dominates
    print(f"relative error of the logits, median of the completions: ours {ours:.4f}, llama.cpp {theirs:.4f}")
    assert ours <= 1.1 * theirs
