"""The choice of keys in sparse attention (the lightning indexer of DeepSeek V3.2): definition of the op."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def choose_keys(q: F64, k: F64, weights: F64, seen: npt.NDArray[np.bool_], n_keys: int) -> F64:
    """The keys with the greatest scores, ascending, then -1: [n, n_keys].

    The score is sum over h of w_h relu(q_h . k) (https://arxiv.org/abs/2512.02556). Of equal scores the first keys are
    chosen; NaN is the least score.

    Parameters
    ----------
    q : float64 [n, n_head, head_dim]
    k : float64 [n_key, head_dim]
        Keys that no query sees may be anything.
    weights : float64 [n, n_head]
    seen : bool [n, n_key]
        Which keys a query sees.
    n_keys : int
        Keys to choose; if a query sees fewer, all of them.
    """
    n_key = len(k)
    seen_by_some: npt.NDArray[np.bool_] = np.any(seen, axis=0, keepdims=True)
    products = np.einsum("qhd,kd->qhk", q, np.where(seen_by_some.T, k, 0.0))
    score = np.einsum("qh,qhk->qk", weights, np.maximum(products, 0.0))
    score = np.where(seen & ~np.isnan(score), score, -np.inf)
    best = np.lexsort((np.broadcast_to(np.arange(n_key), score.shape), -score, ~seen))[:, :n_keys]
    ids = np.sort(np.where(np.take_along_axis(seen, best, axis=1), best, n_key), axis=1)
    out = np.full((len(q), n_keys), -1.0)
    out[:, : ids.shape[1]] = np.where(ids == n_key, -1, ids)
    return out
