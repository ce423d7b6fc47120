"""Samplers compared with llama.cpp's on the same logits: which candidates are kept, and their probabilities."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from realizar.sampling import (
    AdaptiveP,
    Dry,
    DynamicTemperature,
    Infill,
    LogitBias,
    MinP,
    Mirostat,
    MirostatV2,
    Penalties,
    Sampler,
    Temperature,
    TokenBytes,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Xtc,
)
from realizar.tokenizer import Tokenizer
from tests.sampling.definitions import Logits, apply, probabilities
from tests.tokenizer.vocabularies import VECTORS, of_file

lib = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra: peers)")

QUIET = lib.llama_log_callback(lambda *_: None)  # llama.cpp keeps a pointer to it
N_VOCAB = 1000
HISTORY = [int(i) for i in np.random.default_rng(3).integers(0, 12, 80)]
Peer = Callable[[], Any]


def _bias() -> Any:
    return lib.llama_sampler_init_logit_bias(N_VOCAB, 2, (lib.llama_logit_bias * 2)((5, 3.0), (7, -2.0)))


PAIRS: dict[str, tuple[Sampler, Peer]] = {
    "top_k": (TopK(37), lambda: lib.llama_sampler_init_top_k(37)),
    "top_p": (TopP(0.87), lambda: lib.llama_sampler_init_top_p(0.87, 1)),
    "min_p": (MinP(0.03), lambda: lib.llama_sampler_init_min_p(0.03, 1)),
    "typical_p": (TypicalP(0.6), lambda: lib.llama_sampler_init_typical(0.6, 1)),
    "top_n_sigma": (TopNSigma(1.3), lambda: lib.llama_sampler_init_top_n_sigma(1.3)),
    "temperature": (Temperature(0.7), lambda: lib.llama_sampler_init_temp(0.7)),
    "dynatemp": (DynamicTemperature(1.0, 0.6, 1.5), lambda: lib.llama_sampler_init_temp_ext(1.0, 0.6, 1.5)),
    "xtc": (Xtc(1.0, 0.02), lambda: lib.llama_sampler_init_xtc(1.0, 0.02, 1, 0)),
    "mirostat": (Mirostat(3.0, 0.1), lambda: lib.llama_sampler_init_mirostat(N_VOCAB, 0, 3.0, 0.1, 100)),
    "mirostat_v2": (MirostatV2(3.0, 0.1), lambda: lib.llama_sampler_init_mirostat_v2(0, 3.0, 0.1)),
    "adaptive_p": (AdaptiveP(0.1, 0.9), lambda: lib.llama_sampler_init_adaptive_p(0.1, 0.9, 0)),
    "penalties": (
        Penalties(1.3, 0.2, 0.1, 32),
        lambda: lib.llama_sampler_init_penalties(N_VOCAB, 32, 1.3, 0.1, 0.2),
    ),
    "logit_bias": (LogitBias(((5, 3.0), (7, -2.0))), _bias),
}


def theirs(sampler: Any, x: Logits, history: list[int]) -> dict[int, float]:
    """Return token -> probability of llama.cpp's sampler, which has accepted the history."""
    data = (lib.llama_token_data * len(x))(*((i, float(logit), 0.0) for i, logit in enumerate(x)))
    candidates = lib.llama_token_data_array(data, len(x), -1, False)
    for token in history:
        lib.llama_sampler_accept(sampler, token)
    lib.llama_sampler_apply(sampler, ctypes.byref(candidates))
    kept = [candidates.data[i] for i in range(candidates.size)]
    lib.llama_sampler_free(sampler)
    ids = [t.id for t in kept if t.logit > -np.inf]
    return dict(zip(ids, probabilities(np.array([t.logit for t in kept if t.logit > -np.inf])), strict=True))


def check(ours: Sampler | tuple[Sampler, ...], peer: Any, x: Logits, history: list[int]) -> None:
    samplers = ours if isinstance(ours, tuple) else (ours,)
    found, expected = apply(x, *samplers, history=history), theirs(peer, x, history)
    assert set(found.token_ids) == set(expected)
    np.testing.assert_allclose(
        probabilities(found.logits), [expected[i] for i in found.token_ids], rtol=2e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("seed", range(8))
def test_samplers_equal_llama_cpp(name: str, seed: int) -> None:
    ours, peer = PAIRS[name]
    x = (np.random.default_rng(seed).standard_normal(N_VOCAB) * (1 + seed % 4)).astype(np.float32)
    check(ours, peer(), x, HISTORY)


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[tuple[Any, Tokenizer]]:
    """A vocabulary, loaded by llama.cpp and by realizar."""
    path = VECTORS / "ggml-vocab-gpt-2.gguf"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    params = lib.llama_model_default_params()
    params.vocab_only = True
    lib.llama_log_set(QUIET, ctypes.c_void_p(0))
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    yield lib.llama_model_get_vocab(model), of_file(path)
    lib.llama_model_free(model)


@pytest.mark.parametrize("breakers", [(), ("\n", ":", '"', "*"), (" the cat", "on ")])
def test_dry(vocabulary: tuple[Any, Tokenizer], breakers: tuple[str, ...]) -> None:
    vocab, tokenizer = vocabulary
    x = np.random.default_rng(0).standard_normal(tokenizer.n_vocab).astype(np.float32)
    token_bytes = TokenBytes(tokenizer, tokenizer.n_vocab)
    ours = Dry(0.9, 1.6, 2, token_bytes.sequence_breakers(breakers), tokenizer.n_vocab)
    words = (ctypes.c_char_p * len(breakers))(*(word.encode() for word in breakers))
    for text in (
        "one two three four, one two three four: one two three",
        "The cat sat on the mat.\nThe cat sat on the rug.\nThe cat sat on",
        "a b a b a b a b a b a b a b",
        "She said \"stop it now\" and he said \"stop it",
    ):  # fmt: skip
        history = tokenizer.encode(text)
        peer = lib.llama_sampler_init_dry(vocab, 0.9, 1.6, 2, 1000, words, len(breakers))
        check(ours, peer, x, history)


@pytest.mark.parametrize("seed", range(12))
def test_infill(vocabulary: tuple[Any, Tokenizer], seed: int) -> None:
    vocab, tokenizer = vocabulary
    chance = np.random.default_rng(seed)
    x = (chance.standard_normal(tokenizer.n_vocab) * 2).astype(np.float32)
    words = [tokenizer.encode(text)[0] for text in ("return", "re", "ret", " x", " xs", "\n", "\n\n", " ", "  ")]
    x[words] += chance.uniform(6, 12, len(words)).astype(np.float32)
    x[sorted(tokenizer.eog_ids)] = (6.0, 16.0, -20.0)[seed % 3]
    peer = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(peer, lib.llama_sampler_init_top_k(40))
    lib.llama_sampler_chain_add(peer, lib.llama_sampler_init_infill(vocab))
    token_bytes = TokenBytes(tokenizer, tokenizer.n_vocab)
    check((TopK(40), Infill(token_bytes, tokenizer.eog_ids)), peer, x, [])
