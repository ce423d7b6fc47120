"""XTC, mirostat and adaptive-p against their definitions, and their state over a sequence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar._kernels import diversity
from realizar._kernels.sampling import Candidates
from realizar.errors import ParameterError
from realizar.params import SamplingParams
from realizar.sampling import AdaptiveP, MinP, Mirostat, MirostatV2, SamplerChain, TopK, Xtc
from tests.sampling.definitions import Logits, apply, cut_at, logits, order, probabilities


@given(logits, st.floats(0.001, 0.5))
def test_xtc(x: Logits, threshold: float) -> None:
    kept, p = set(apply(x, Xtc(1.0, threshold)).token_ids), probabilities(x)
    best = order(x)

    def after(bound: float) -> set[int]:
        n = int((p >= bound).sum())
        return set(best[max(n - 1, 0) :])

    assert kept in [after(bound) for bound in (threshold * (1 - 1e-4), threshold, threshold * (1 + 1e-4))]


@given(logits)
def test_xtc_with_a_high_threshold_does_nothing(x: Logits) -> None:
    assert apply(x, Xtc(0.0, 0.1)).n == apply(x, Xtc(1.0, 0.51)).n == len(x)


@given(logits, st.floats(0, 20))
def test_mirostat_2_truncates_by_surprise(x: Logits, tau: float) -> None:
    kept = apply(x, MirostatV2(tau / 2))
    cut = cut_at(x, 2.0**-tau)
    margin = 1e-4 + 1e-6 * abs(float(x.max()))
    must = set(np.flatnonzero((x > cut + margin) | (x == x.max())))
    assert must <= set(kept.token_ids) <= set(np.flatnonzero(x >= cut - margin))


def rank(x: Logits, mu: float, m: int) -> float:
    best = np.sort(x.astype(np.float64))[::-1][:m]
    best = best[best > -np.inf]
    t, b = np.log(np.arange(2, len(best) + 1) / np.arange(1, len(best))), -np.diff(best)
    s = (t * b).sum() / (t * t).sum() if len(best) > 1 else 0.0
    if s <= 0:
        return math.inf
    with np.errstate(over="ignore"):
        return float(np.power(np.divide((s - 1) * 2.0**mu, 1 - float(len(x)) ** (1 - s)), 1 / s))


@given(st.integers(0, 2**32), st.integers(2, 400), st.floats(0, 12), st.floats(0.1, 4))
def test_mirostat_1_ranks_by_zipfs_exponent(seed: int, n: int, mu: float, scale: float) -> None:
    x = (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)
    candidates = apply(x)
    near = [min(max(int(min(rank(x, mu + d, 100), 1e9)), 1), n) for d in (-1e-6, 0, 1e-6)]
    assert min(near) <= diversity.mirostat_rank(candidates, mu) <= max(near)
    assert candidates.n == n


@given(logits, st.floats(0, 20))
def test_mirostat_1_always_keeps_the_best(x: Logits, mu: float) -> None:
    kept = apply(x, Mirostat(mu))
    assert set(kept.token_ids) == set(order(x)[: kept.n])


@pytest.mark.parametrize("kind", [Mirostat, MirostatV2])
def test_mirostat_keeps_the_surprise_near_the_target(kind: type[MirostatV2]) -> None:
    """The mean over a long sequence is the target, and mu is updated by the rule in each step."""
    x = -1.1 * np.log(np.arange(1, 2001, dtype=np.float32))
    params = SamplingParams(mirostat=1 if kind is Mirostat else 2, mirostat_tau=3.0, seed=1)
    chain, mu, surprises = SamplerChain.from_params(params, 2000, 1), 6.0, []
    assert chain.samplers == (kind(3.0, 0.1),)
    for position in range(1000):
        token = chain.sample(x, [], position).token_id
        k = min(int(rank(x, mu, 100)), 2000) if kind is Mirostat else int((x >= cut_at(x, 2.0**-mu) - 1e-6).sum())
        surprises.append(-math.log2(probabilities(x[: max(k, 1)])[token]))
        mu -= 0.1 * (surprises[-1] - 3.0)
    assert np.mean(surprises[100:]) == pytest.approx(3.0, abs=0.1)


def test_state_belongs_to_one_chain() -> None:
    sampler = MirostatV2(3.0)
    x = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    chains = [SamplerChain([sampler], 50, 7) for _ in range(2)]
    texts = [[chain.sample(x, [], i).token_id for i in range(30)] for chain in chains]
    assert texts[0] == texts[1]
    assert sampler.mu == 6.0


@given(logits, st.floats(0, 1))
def test_adaptive(x: Logits, target: float) -> None:
    found = apply(x, AdaptiveP(target).reset_copy())
    d = np.abs(probabilities(x) - target) / 0.3
    expected = np.where(x > -np.inf, 5 - 10 * d**2 / (1 + d), -np.inf)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-3)


def test_adaptive_updates_its_state() -> None:
    x = np.log(np.array([0.5, 0.3, 0.1, 0.05, 0.05], np.float32))
    sampler = AdaptiveP(0.2, 0.5)
    candidates = Candidates(5)
    total, weight = 0.4, 2.0
    for token in (0, 0, 1, 3):
        candidates.load(x)
        sampler.apply(candidates, [])
        d = np.abs(np.exp(x) - np.clip(0.4 - total / weight, 0, 1)) / 0.3
        np.testing.assert_allclose(candidates.logits, 5 - 10 * d**2 / (1 + d), rtol=1e-4, atol=1e-4)
        sampler.accept(candidates, token)
        total, weight = math.exp(x[token]) + 0.5 * total, 1 + 0.5 * weight
    params = SamplingParams(samplers=["min_p", AdaptiveP(0.3)], min_p=0.02)
    assert SamplerChain.from_params(params, 5, 0).samplers == (MinP(0.02), AdaptiveP(0.3))
    with pytest.raises(ParameterError, match=r"AdaptiveP: target=1.5: must be a number in \[0, 1\]"):
        AdaptiveP(1.5)


def test_replace() -> None:
    candidates = Candidates(5)
    candidates.load(np.zeros(5, np.float32))
    candidates.replace(np.array([4, 2], np.int32), np.array([-np.inf, 2.0], np.float32))
    TopK(1).apply(candidates, [])
    assert (candidates.token_ids.tolist(), candidates.logits.tolist()) == ([2], [2.0])
    for ids, x in (([1, 5], [0, 0]), ([1], [np.nan]), ([1], [np.inf]), ([], []), ([1], [0, 0])):
        with pytest.raises(ValueError, match="must be"):
            candidates.replace(np.array(ids, np.int32), np.array(x, np.float32))
