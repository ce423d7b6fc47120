"""Each sampler against its numpy definition: ties, -inf, extreme logits, a single candidate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar._kernels.sampling import Candidates
from realizar.sampling import Greedy, MinP, Penalties, Sampler, Temperature, TopK, TopP, TypicalP
from tests.sampling.definitions import Logits, apply, logits, order, penalized, probabilities

LINKS: list[Sampler] = [
    TopK(7), TopP(0.8), MinP(0.02), Temperature(0.5), Penalties(1.3, 0.1, 0.2), TypicalP(0.9),
]  # fmt: skip


@given(logits)
def test_loaded_candidates_are_the_vocabulary(x: Logits) -> None:
    candidates = apply(x)
    np.testing.assert_array_equal(candidates.token_ids, np.arange(len(x)))
    np.testing.assert_array_equal(candidates.logits, x)


@given(logits)
def test_greedy(x: Logits) -> None:
    assert apply(x, Greedy()).token_ids.tolist() == [int(np.argmax(x))]


@given(logits, st.integers(1, 500))
def test_top_k(x: Logits, k: int) -> None:
    candidates = apply(x, TopK(k))
    assert set(candidates.token_ids) == set(order(x)[:k])
    np.testing.assert_array_equal(candidates.logits, x[candidates.token_ids])


@given(logits, st.floats(0, 1))
def test_top_p(x: Logits, p: float) -> None:
    candidates = apply(x, TopP(p))
    best, n = order(x), candidates.n
    mass = np.cumsum(probabilities(x)[best])
    assert set(candidates.token_ids) == set(best[:n])
    assert mass[n - 1] >= p - 1e-5  # enough ...
    assert n == 1 or mass[n - 2] < p + 1e-5  # ... and not without the last one, up to rounding


@given(logits, st.floats(0, 1))
def test_min_p(x: Logits, p: float) -> None:
    kept = set(apply(x, MinP(p)).token_ids)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = x.astype(np.float64) - float(x.max()) - np.log(p)  # the condition in logarithms
    margin = 1e-4 + 1e-6 * abs(float(x.max()))
    assert set(np.flatnonzero((above > margin) | (x == x.max()))) <= kept <= set(np.flatnonzero(~(above < -margin)))


@given(logits, st.one_of(st.floats(1e-3, 100), st.sampled_from([1e-300, 1e-6, 1e6])))
def test_temperature(x: Logits, t: float) -> None:
    with np.errstate(over="ignore"):
        expected = probabilities((x.astype(np.float64) - float(x.max())) / max(t, 1e-30))
    np.testing.assert_allclose(probabilities(apply(x, Temperature(t)).logits), expected, atol=1e-5)


@given(logits, st.data(), st.floats(0.5, 2), st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([-1, 0, 3, 64]))
def test_penalties(x: Logits, data: st.DataObject, rep: float, presence: float, freq: float, last_n: int) -> None:
    history = data.draw(st.lists(st.integers(0, len(x) - 1), max_size=100))
    sampler = Penalties(rep, presence, freq, last_n)
    seen = history[len(history) - last_n if 0 <= last_n <= len(history) else 0 :]
    expected = penalized(x, seen, *(float(np.float32(v)) for v in (rep, presence, freq)))
    candidates = apply(x, sampler, history=history)
    np.testing.assert_allclose(candidates.logits, expected, rtol=1e-5, atol=1e-5)
    after_top_k = apply(x, TopK(5), sampler, history=history)  # the same if candidates are missing
    np.testing.assert_array_equal(after_top_k.logits, candidates.logits[after_top_k.token_ids])


@given(logits, st.permutations(LINKS))
def test_any_order_composes(x: Logits, samplers: list[Sampler]) -> None:
    """Each sampler sees only the candidates that the one before it kept."""
    history = list(range(0, len(x), 3))
    chained = apply(x, *samplers, history=history)
    for sampler in samplers:
        step = apply(x, sampler, history=history)
        x = np.full(len(x), -np.inf, np.float32)
        x[step.token_ids] = step.logits
    alive = np.flatnonzero(x > -np.inf)
    np.testing.assert_array_equal(np.sort(chained.token_ids[chained.logits > -np.inf]), alive)
    np.testing.assert_array_equal(
        chained.logits[chained.logits > -np.inf], x[chained.token_ids[chained.logits > -np.inf]]
    )


@given(logits, st.integers(1, 20))
def test_ranked(x: Logits, k: int) -> None:
    candidates = apply(x)
    assert candidates.ranked(k) == [(int(i), float(x[i])) for i in order(x)[:k]]


@given(logits)
def test_log_sum_exp(x: Logits) -> None:
    expected = float(x.max()) + np.log(np.exp(x.astype(np.float64) - float(x.max())).sum())
    assert apply(x).log_sum_exp() == pytest.approx(expected, rel=1e-6, abs=1e-5)


def test_large_vocabulary() -> None:
    """Many blocks, few of which have kept candidates; and a k larger than the number of blocks."""
    x = (np.random.default_rng(1).standard_normal(151_936) * 3).astype(np.float32)
    for k in (1, 40, 2000, 50_000):
        assert set(apply(x, TopK(k)).token_ids) == set(order(x)[:k])
    test_top_p.hypothesis.inner_test(x, 0.9)  # type: ignore[attr-defined]
    flat = np.zeros(151_936, np.float32)
    assert sorted(apply(flat, TopK(40)).token_ids) == list(range(40))


@pytest.mark.parametrize("sampler", [TopK(0), TopP(1.5), TopP(float("nan")), MinP(-0.1), Temperature(0.0)])
def test_invalid_parameters_are_errors(sampler: Sampler) -> None:
    candidates = Candidates(4)
    candidates.load(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="must be"):
        sampler.apply(candidates, [])
