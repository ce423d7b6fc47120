"""The definition of each sampler in a few lines of float64 numpy; kept ids and logits, best first."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from realizar._kernels.sampling import Candidates
from realizar.sampling import Sampler

Logits = NDArray[np.float32]


def apply(x: Logits, *samplers: Sampler, history: list[int] | None = None) -> Candidates:
    """Apply samplers and return the candidates; checks that the caller's logits do not change."""
    before = x.copy()
    x.flags.writeable = False
    candidates = Candidates(len(x))
    assert candidates.load(x)
    for sampler in samplers:
        sampler.apply(candidates, history or [])
    np.testing.assert_array_equal(x, before)
    assert candidates.n == len(candidates.token_ids) == len(candidates.logits) >= 1
    return candidates


def order(x: Logits) -> NDArray[np.intp]:
    """Return the ids by descending logit; of equal logits, the lower id first."""
    return np.lexsort((np.arange(len(x)), -x))


def probabilities(x: NDArray[np.floating]) -> NDArray[np.float64]:
    e = np.exp(x.astype(np.float64) - float(x.max()))
    return np.asarray(e / e.sum(), np.float64)


def penalized(x: Logits, history: list[int], repetition: float, presence: float, frequency: float) -> Logits:
    y = x.astype(np.float64)
    for token in set(history):
        y[token] = y[token] / repetition if y[token] > 0 else y[token] * repetition
        y[token] -= presence + history.count(token) * frequency
    finite = np.finfo(np.float32)
    return np.where(np.isinf(x), x, np.clip(y, finite.min, finite.max)).astype(np.float32)


def entropy(x: NDArray[np.floating]) -> float:
    p = probabilities(x)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def top_n_sigma_cut(x: Logits, n: float) -> float:
    return float(x.max() - n * x[x > -np.inf].astype(np.float64).std())


def cut_at(x: Logits, p: float) -> float:
    """Return the logit of a probability, but at most the best logit."""
    y = x.astype(np.float64)
    with np.errstate(divide="ignore"):
        log_z = y.max() + np.log(np.exp(y - y.max()).sum())
        return float(min(np.log(p) + log_z, y.max()))


def typical(x: Logits, p: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each candidate's surprise from the entropy, and the mass of the candidates before it."""
    q = probabilities(x)
    with np.errstate(divide="ignore"):
        distance = np.abs(-np.log(q) - entropy(x))
    best = np.lexsort((np.arange(len(x)), distance))
    mass = np.empty(len(x))
    mass[best] = np.cumsum(q[best]) - q[best]
    return distance, mass


def tail_free(x: Logits, z: float) -> int:
    """Return the number of kept candidates."""
    p = np.sort(probabilities(x))[::-1]
    bends = np.abs(np.diff(p, 2))
    beyond = np.flatnonzero(np.cumsum(bends) > z * bends.sum())
    return int(min(beyond[beyond > 0], default=len(x)))


def dynamic_temperature(x: Logits, t: float, reach: float, exponent: float) -> NDArray[np.float64]:
    n, low = (x > -np.inf).sum(), max(t - reach, 0.0)
    if n == 1:
        return x.astype(np.float64)
    return (x.astype(np.float64) - x.max()) / max(low + (t + reach - low) * (entropy(x) / np.log(n)) ** exponent, 1e-30)


def quadratic(x: Logits, factor: float, curve: float) -> NDArray[np.float64]:
    d = x.astype(np.float64) - x.max()
    with np.errstate(invalid="ignore"):
        y = x.max() - factor * ((3 - curve) / 2 * d**2 - (curve - 1) / 2 * d**3)
    return np.where(x > -np.inf, y, -np.inf)


def dry(
    x: Logits,
    history: list[int],
    multiplier: float,
    base: float,
    allowed: int,
    breakers: dict[int, set[tuple[int, ...]]],
) -> NDArray[np.float64]:
    y, n = x.astype(np.float64), len(history)
    found = (
        (i, max(len(rest) for rest in rests))
        for i in range(n)
        if (rests := {r for r in breakers.get(history[i], ()) if tuple(history[i + 1 :][: len(r)]) == r})
    )
    limit = min((n - 1 - i - length for i, length in found), default=n) if breakers else n
    for token in set(history):
        ends = [history[:j] for j in range(n) if history[j] == token]
        longest = max(next(i for i in range(n + 1) if i == len(e) or e[-1 - i] != history[-1 - i]) for e in ends)
        length = min(longest, limit)
        if length >= allowed and () not in breakers.get(token, ()):
            y[token] -= multiplier * base ** (length - allowed)
    finite = np.finfo(np.float32)
    return np.where(np.isinf(x), x, np.clip(y, finite.min, finite.max))


def infill(x: Logits, pieces: list[bytes], ends: set[int], end_id: int) -> list[int]:
    """Return the kept tokens, best first."""
    ids = [int(i) for i in order(x)]
    p = probabilities(x).astype(np.float64)
    of_ends = sum(p[i] for i in ids if i in ends)
    if 3 * of_ends * len(x) > 1 - of_ends:
        return [i for i in ids if i in ends]
    for i in ids:
        for j in ids:
            if i != j and p[i] > 0 and p[j] > 0 and pieces[i] and pieces[j].startswith(pieces[i]):
                to, source = (j, i) if p[j] > p[i] else (i, j)
                p[to], p[source] = p[to] + p[source], 0.0
    text = [i for i in ids if i not in ends and p[i] >= 0.2]
    left = [i for i in ids if i in ends or i in text]
    least = p[left].sum() / (len(text) + 1)
    return [i for i in left if i in ends or p[i] >= least] if text else [end_id]


_ties = hnp.arrays(np.float32, st.integers(1, 400), elements=st.integers(-3, 3).map(float))
_spread = hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-30, 30, width=32))
_extreme = hnp.arrays(
    np.float32,
    st.integers(1, 150),
    elements=st.sampled_from([-np.inf, -3.4e38, -88.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 88.0, 3.4e38]),
)
logits = st.one_of(_ties, _spread, _extreme).filter(lambda x: bool(x.max() > -np.inf))
