"""Samplers that use the whole distribution against their numpy definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar._kernels.sampling import Candidates
from realizar.sampling import (
    DynamicTemperature,
    Epsilon,
    Eta,
    Quadratic,
    Sampler,
    TailFree,
    TopA,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
)
from tests.sampling import definitions
from tests.sampling.definitions import Logits, apply, cut_at, entropy, logits, order, probabilities

share = st.floats(0, 1)
CUTS: dict[type[Sampler], Callable[[Logits, float], float]] = {
    Epsilon: cut_at,
    Eta: lambda x, e: cut_at(x, min(e, np.sqrt(e) * np.exp(-entropy(x)))),
    TopA: lambda x, a: cut_at(x, a * probabilities(x).max() ** 2),
    TopNSigma: definitions.top_n_sigma_cut,
}


@pytest.mark.parametrize("sampler", CUTS)
@given(x=logits, value=share)
def test_cuts(sampler: Callable[[float], Sampler], x: Logits, value: float) -> None:
    cut = CUTS[sampler](x, value)  # type: ignore[index]
    kept = apply(x, sampler(value))
    margin = 1e-4 + 1e-6 * (x.max() - np.where(x > -np.inf, x, x.max()).astype(np.float64).min() + abs(float(x.max())))
    must = set(np.flatnonzero((x > cut + margin) | (x == x.max())))
    assert must <= set(kept.token_ids) <= set(np.flatnonzero(x >= cut - margin))
    np.testing.assert_array_equal(kept.logits, x[kept.token_ids])


@given(logits, st.floats(0, 0.9999))
def test_typical(x: Logits, p: float) -> None:
    kept = apply(x, TypicalP(p))
    distance, before = definitions.typical(x, p)
    dropped = np.setdiff1d(np.arange(len(x)), kept.token_ids)
    margin = 1e-4 + 1e-6 * float(distance[kept.token_ids].max())
    assert not len(dropped) or distance[kept.token_ids].max() <= distance[dropped].min() + margin
    assert probabilities(x)[kept.token_ids].sum() >= p - 1e-5  # enough ...
    farthest = max(kept.token_ids, key=lambda i: (distance[i], i))
    others = kept.token_ids[kept.token_ids != farthest]
    assert kept.n == 1 or probabilities(x)[others].sum() < p + 1e-4 or before[farthest] < p + 1e-4  # ... not too much
    np.testing.assert_array_equal(kept.logits, x[kept.token_ids])


@given(logits, st.floats(0, 0.99))
def test_tail_free(x: Logits, z: float) -> None:
    kept = apply(x, TailFree(z))
    assert set(kept.token_ids) == set(order(x)[: kept.n])
    np.testing.assert_array_equal(kept.logits, x[kept.token_ids])
    if len(x) > 2:
        near = [definitions.tail_free(x, value) for value in (max(z - 1e-4, 0.0), z, z + 1e-4)]
        bends = np.abs(np.diff(np.sort(probabilities(x))[::-1], 2))
        assert min(near) <= kept.n <= max(near) or bends.sum() < 1e-6


@given(logits, st.floats(0, 0.99), st.sampled_from([TailFree, TypicalP, TopP]))
def test_after_top_k_as_with_a_smaller_vocabulary(x: Logits, value: float, kind: type[Sampler]) -> None:
    best = np.sort(order(x)[:9])  # ties: the lower id first in both
    found = apply(x, TopK(9), kind(value))  # type: ignore[call-arg]
    alone = apply(x[best], kind(value))  # type: ignore[call-arg]
    assert found.n == alone.n
    np.testing.assert_array_equal(np.sort(found.logits), np.sort(alone.logits))


@given(logits, st.floats(0.1, 3), st.floats(0, 3), st.sampled_from([0.5, 1.0, 2.0]))
def test_dynamic_temperature(x: Logits, t: float, reach: float, exponent: float) -> None:
    found = apply(x, DynamicTemperature(t, reach, exponent)).logits
    expected = probabilities(definitions.dynamic_temperature(x, t, reach, exponent))
    if t > reach + 0.05:  # next to 0 a temperature magnifies every rounding
        np.testing.assert_allclose(probabilities(found), expected, atol=1e-4)
    assert found.argmax() == x.argmax()


@given(logits, st.floats(0, 2), st.sampled_from([1.0, 2.0, 3.0, 5.0]))
def test_quadratic(x: Logits, factor: float, curve: float) -> None:
    finite = np.finfo(np.float32)
    expected = definitions.quadratic(x, factor, curve)
    expected = np.where(np.isinf(x), x, np.clip(expected, finite.min, finite.max))
    np.testing.assert_allclose(apply(x, Quadratic(factor, curve)).logits, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_large_vocabulary(seed: int) -> None:
    """Many blocks: the kept candidates are found without sorting the others."""
    x = (np.random.default_rng(seed).standard_normal(50_000) * 3).astype(np.float32)
    for z in (0.5, 0.95, 0.999, 1 - 1e-7):  # float32 weights against float64: ranks may differ by one
        assert abs(apply(x, TailFree(z)).n - definitions.tail_free(x, z)) <= 1
    for p in (0.2, 0.9):
        test_typical.hypothesis.inner_test(x, p)  # type: ignore[attr-defined]
    for sampler, value in ((Epsilon, 1e-4), (Eta, 1e-3), (TopA, 0.3), (TopNSigma, 1.5)):
        test_cuts.hypothesis.inner_test(sampler, x, value)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "sampler",
    [TypicalP(1.5), TailFree(-1.0), Epsilon(float("nan")), Eta(2.0), TopA(-1.0), TopNSigma(-1.0), Quadratic(-1.0)],
)
def test_invalid_parameters_are_errors(sampler: Sampler) -> None:
    candidates = Candidates(4)
    candidates.load(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="must be"):
        sampler.apply(candidates, [])
