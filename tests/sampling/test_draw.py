"""The draw: the generator's published bits, and frequencies against exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from realizar._kernels.sampling import philox4x32, uniform
from realizar.params import SamplingParams
from realizar.sampling import SamplerChain
from tests.sampling.definitions import probabilities

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
    """What chi-square of `df` degrees of freedom exceeds with p = 1e-6 (Wilson and Hilferty's approximation, 1931)."""
    z = 4.753
    return df * (1 - 2 / (9 * df) + z * math.sqrt(2 / (9 * df))) ** 3


@pytest.mark.parametrize(
    ("params", "n_vocab"),
    [
        (SamplingParams(), 5),
        (SamplingParams(), 300),  # several blocks, the last one short
        (SamplingParams(temperature=0.7), 130),
        (SamplingParams(temperature=1.5, top_k=20), 300),
        (SamplingParams(top_p=0.9), 300),
        (SamplingParams(min_p=0.1, temperature=2.0), 300),
    ],
)
def test_frequencies(params: SamplingParams, n_vocab: int) -> None:
    x = (np.random.default_rng(n_vocab).standard_normal(n_vocab) * 0.7).astype(np.float32)
    chain = SamplerChain.from_params(params, n_vocab, seed=1234)
    drawn = [chain.sample(x, [], position).token_id for position in range(N_DRAWS)]
    expected = expected_probabilities(x, params) * N_DRAWS
    counts = np.bincount(drawn, minlength=n_vocab)
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert expected.min() > 5  # else chi-square says little
    assert ((counts - expected) ** 2 / expected).sum() < chi_square_bound(len(expected) - 1)


def expected_probabilities(x: np.ndarray, params: SamplingParams) -> np.ndarray:
    """The chain's definition: top-k, top-p, min-p on the untempered probabilities, then the temperature."""
    best = np.argsort(-x, kind="stable")
    keep = best[: params.top_k or len(x)]
    p = probabilities(x[keep])
    keep = keep[: int(np.searchsorted(np.cumsum(p), params.top_p)) + 1 if params.top_p < 1 else None]
    keep = keep[x[keep] >= x[keep[0]] + np.log(params.min_p)] if params.min_p else keep
    result = np.zeros(len(x))
    result[keep] = probabilities(x[keep] / params.temperature)
    return result


def test_draw_numbers_are_independent() -> None:
    """Side by side at one position: as spread as along the text."""
    x = np.zeros(16, np.float32)
    chain = SamplerChain.from_params(SamplingParams(), 16, seed=5)
    counts = np.bincount([chain.sample(x, [], 7, draw).token_id for draw in range(N_DRAWS)], minlength=16)
    assert ((counts - N_DRAWS / 16) ** 2 / (N_DRAWS / 16)).sum() < chi_square_bound(15)
