"""The definition of the choice of keys, against a loop over queries and keys."""

import numpy as np

from realizar.graph.indexer import choose_keys


def by_loops(q, k, weights, seen, n_keys):
    out = np.full((len(q), n_keys), -1.0)
    for t in range(len(q)):
        scores = {}
        for s in np.flatnonzero(seen[t]):
            scores[s] = sum(w * max(row @ k[s], 0.0) for w, row in zip(weights[t], q[t], strict=True))
        best = sorted(scores, key=lambda s: (-scores[s], s))[:n_keys]
        out[t, : len(best)] = sorted(best)
    return out


def some(n=20, n_head=3, head_dim=8, seed=0):
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((n, n_head, head_dim)), rng.standard_normal((n, head_dim))
    return q, k, rng.standard_normal((n, n_head)), np.tri(n, dtype=bool)


def test_against_loops():
    for n_keys in (1, 5, 19, 20, 30):
        np.testing.assert_array_equal(choose_keys(*some(), n_keys), by_loops(*some(), n_keys))


def test_the_first_of_equal_keys_are_chosen():
    q, k, weights, seen = some()
    k[5:15] = k[5]
    np.testing.assert_array_equal(choose_keys(q, k, weights, seen, 7), by_loops(q, k, weights, seen, 7))
    np.testing.assert_array_equal(choose_keys(q, k, 0 * weights, seen, 3)[-1], [0, 1, 2])


def test_nan_is_the_least_score_and_unseen_keys_may_be_anything():
    q, k, weights, seen = some()
    k[[2, 18]] = np.nan
    chosen = choose_keys(q[10:17], k, weights[10:17], seen[10:17], 10)
    assert not np.isin(chosen[:, :10], [18]).any()
    assert [2 in row for row in chosen] == [False] * 7
    np.testing.assert_array_equal(choose_keys(q[2:3], k, weights[2:3], seen[2:3], 4), [[0, 1, 2, -1]])
