"""What each sampler means, in a few lines of float64 numpy; ids and logits of what is left, best first."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def order(x: Logits) -> NDArray[np.intp]:
    """Ids, greater logits first, of equals the lower id."""
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


_ties = hnp.arrays(np.float32, st.integers(1, 400), elements=st.integers(-3, 3).map(float))
_spread = hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-30, 30, width=32))
_extreme = hnp.arrays(
    np.float32,
    st.integers(1, 150),
    elements=st.sampled_from([-np.inf, -3.4e38, -88.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 88.0, 3.4e38]),
)
logits = st.one_of(_ties, _spread, _extreme).filter(lambda x: bool(x.max() > -np.inf))
