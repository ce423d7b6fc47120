"""The random draw: the generator's published test vectors, and frequencies against exact probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from realizar._kernels.sampling import philox4x32, uniform
from realizar.params import SamplingParams
from realizar.sampling import SamplerChain
from tests.sampling import definitions
from tests.sampling.definitions import cut_at, entropy, probabilities
from tests.sampling.vocabulary import token_bytes

# kat_vectors of the Random123 library, release 1.14.0, rows "philox4x32 10": counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
N_DRAWS = 20_000


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key: str, result: str) -> None:
    assert list(philox4x32(words(counter), words(key))) == words(result)


def test_uniform_is_made_of_philox_words() -> None:
    seed, position, draw = 0x299F31D0_A4093822, 0x85A308D3_243F6A88, 3
    high, low, _, _ = philox4x32([0x243F6A88, 0x85A308D3, 3, 0], [0xA4093822, 0x299F31D0])
    assert uniform(seed, position, draw) == ((high << 32 | low) >> 11) / 2**53
    assert uniform(seed, position, draw) != uniform(seed, position, draw + 1)


def chi_square_bound(df: int) -> float:
    """Return the value that chi-square with `df` degrees of freedom exceeds with p = 1e-6 (Wilson, Hilferty 1931)."""
    z = 4.753
    return df * (1 - 2 / (9 * df) + z * math.sqrt(2 / (9 * df))) ** 3


def best(x: np.ndarray, n: int) -> np.ndarray:
    return np.argsort(-x, kind="stable")[:n]


HISTORY = [3, 1, 2, 3, 1, 2, 3]
# Params, the size of the vocabulary, and by definition the kept tokens and their logits.
CASES: dict[str, tuple[SamplingParams, int, Callable[[np.ndarray], tuple[Any, Any]]]] = {
    "plain": (SamplingParams(), 5, lambda x: (..., x)),
    "blocks": (SamplingParams(), 300, lambda x: (..., x)),  # several blocks, the last one short
    "temperature": (SamplingParams(temperature=0.7), 130, lambda x: (..., x / 0.7)),
    "top_k": (SamplingParams(temperature=1.5, top_k=20), 300, lambda x: (best(x, 20), x / 1.5)),
    "top_p": (SamplingParams(top_p=0.9), 300, lambda x: (nucleus(x, 0.9), x)),
    "min_p": (SamplingParams(min_p=0.1, temperature=2.0), 300, lambda x: (x >= x.max() + np.log(0.1), x / 2)),
    "typical_p": (SamplingParams(typical_p=0.6), 300, lambda x: (definitions.typical(x, 0.6)[1] < 0.6, x)),
    "tfs_z": (SamplingParams(tfs_z=0.9), 300, lambda x: (best(x, definitions.tail_free(x, 0.9)), x)),
    "top_a": (SamplingParams(top_a=0.3), 300, lambda x: (x >= cut_at(x, 0.3 * probabilities(x).max() ** 2), x)),
    "top_n_sigma": (SamplingParams(top_n_sigma=1.0), 300, lambda x: (x >= definitions.top_n_sigma_cut(x, 1.0), x)),
    "epsilon": (SamplingParams(epsilon_cutoff=4e-3), 300, lambda x: (x >= cut_at(x, 4e-3), x)),
    "eta": (SamplingParams(eta_cutoff=0.4), 300, lambda x: (x >= cut_at(x, 0.4**0.5 * np.exp(-entropy(x))), x)),
    "dynatemp": (
        SamplingParams(temperature=1.5, dynatemp_range=1.0, dynatemp_exponent=2.0),
        300,
        lambda x: (..., definitions.dynamic_temperature(x, 1.5, 1.0, 2.0)),
    ),
    "smoothing": (
        SamplingParams(smoothing_factor=0.2, smoothing_curve=1.5),
        100,
        lambda x: (..., definitions.quadratic(x, 0.2, 1.5)),
    ),
    "mirostat": (
        SamplingParams(mirostat=2, mirostat_tau=3.5, mirostat_eta=0),
        300,
        lambda x: (x >= cut_at(x, 2**-7), x),
    ),
    "penalties": (
        SamplingParams(repetition_penalty=1.5, presence_penalty=0.2, frequency_penalty=0.3),
        50,
        lambda x: (..., definitions.penalized(x, HISTORY, 1.5, 0.2, 0.3)),
    ),
    "dry": (
        SamplingParams(dry_multiplier=0.5, dry_base=1.2),
        50,
        lambda x: (..., definitions.dry(x, HISTORY, 0.5, 1.2, 2, {8: {()}, 9: {()}, 10: {()}})),
    ),
    "no_repeat_ngram": (SamplingParams(no_repeat_ngram_size=3), 50, lambda x: (np.arange(50) != 1, x)),
    "bad_words": (SamplingParams(bad_words="ca"), 50, lambda x: (~np.isin(np.arange(50), [1, 4, 6, 7]), x)),
    "min_tokens": (SamplingParams(min_tokens=1), 50, lambda x: (~np.isin(np.arange(50), [5, 9]), x)),
    "allowed": (SamplingParams(allowed_token_ids=range(2, 30)), 50, lambda x: (slice(2, 30), x)),
    "logit_bias": (
        SamplingParams(logit_bias={3: 1.0, 7: -0.5}),
        50,
        lambda x: (..., x + np.eye(50)[3] - np.eye(50)[7] / 2),
    ),
}


def nucleus(x: np.ndarray, p: float) -> np.ndarray:
    ids = best(x, len(x))
    return ids[: int(np.searchsorted(np.cumsum(probabilities(x[ids])), p)) + 1]


@pytest.mark.parametrize("name", CASES)
def test_frequencies(name: str) -> None:
    """Frequencies of 20,000 draws against the exact probabilities."""
    params, n_vocab, definition = CASES[name]
    x = (np.random.default_rng(n_vocab).standard_normal(n_vocab) * 0.7).astype(np.float32)
    chain = SamplerChain.from_params(params, n_vocab, 1234, token_bytes(), len(HISTORY), frozenset((5, 9)))
    drawn = [chain.sample(x, HISTORY, position).token_id for position in range(N_DRAWS)]
    kept, y = definition(x)
    expected = np.zeros(n_vocab)
    expected[kept] = probabilities(y[kept]) * N_DRAWS
    counts = np.bincount(drawn, minlength=n_vocab)
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    counts, expected = pooled(counts, expected)
    assert ((counts - expected) ** 2 / expected).sum() < chi_square_bound(len(expected) - 1)


def pooled(counts: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge rare tokens so that at least five of each kind are expected, as chi-square requires."""
    if (expected >= 5).all():
        return counts, expected
    rare = expected < max(5, np.sort(expected)[np.cumsum(np.sort(expected)) >= 5][0] * (1 + 1e-9))
    return tuple(np.append(v[~rare], v[rare].sum()) for v in (counts, expected))  # type: ignore[return-value]


def test_xtc_uses_another_random_number_than_the_token() -> None:
    x = np.log(np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float32))
    chain = SamplerChain.from_params(SamplingParams(xtc_probability=0.5, xtc_threshold=0.15), 5, 3)
    counts = np.bincount([chain.sample(x, [], i).token_id for i in range(N_DRAWS)], minlength=5)
    expected = N_DRAWS * (np.exp(x) / 2 + np.array([0, 0, 2 / 3, 0.2, 2 / 15]) / 2)
    assert ((counts - expected) ** 2 / expected).sum() < chi_square_bound(4)


def test_draw_numbers_are_independent() -> None:
    """Draws at one position are as independent as draws along a sequence."""
    x = np.zeros(16, np.float32)
    chain = SamplerChain.from_params(SamplingParams(), 16, seed=5)
    counts = np.bincount([chain.sample(x, [], 7, draw).token_id for draw in range(N_DRAWS)], minlength=16)
    assert ((counts - N_DRAWS / 16) ** 2 / (N_DRAWS / 16)).sum() < chi_square_bound(15)
