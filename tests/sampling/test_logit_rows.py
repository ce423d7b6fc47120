"""LogitRows: summaries computed by all threads have the same bits as those computed by a sampler chain."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from realizar import SamplingParams
from realizar._kernels import logit_scan
from realizar._kernels.plan import Pool
from realizar._kernels.sampling import Candidates
from realizar.runtime.logit_rows import LogitRow, LogitRows
from realizar.sampling import SamplerChain

N_VOCAB = 100_003  # the last block is short


def scan(n_threads: int = 2) -> partial[np.ndarray]:
    return partial(logit_scan.summaries, Pool(n_threads))


@pytest.fixture
def values() -> np.ndarray:
    """Padded rows, enough of them for several threads."""
    x = 3 * np.random.default_rng(0).standard_normal((5, N_VOCAB + 61), np.float32)
    x[1, 200:400] = -np.inf
    return x[:, :N_VOCAB]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_tokens_and_logprobs_are_the_same_without_summaries(values: np.ndarray, n_threads: int) -> None:
    params = SamplingParams(top_p=0.9, temperature=0.8, logprobs=3)
    for seed, row in enumerate(LogitRows(values, scan(n_threads))):
        scanned, plain = Candidates(N_VOCAB), Candidates(N_VOCAB)
        assert row.summaries is not None
        assert scanned.load(row.values, row.summaries)
        assert plain.load(row.values)
        assert scanned.log_sum_exp() == plain.log_sum_exp()
        found = [
            SamplerChain.from_params(params, N_VOCAB, seed).sample(logits, [], 7)
            for logits in (row, LogitRow(row.values), row.values)
        ]
        assert found[0] == found[1] == found[2]


def test_slices_share_the_summaries_of_one_scan(values: np.ndarray) -> None:
    calls = []

    def counted(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return scan()(x)

    rows = LogitRows(values, counted)
    part = rows[1:4][1:]
    assert not calls
    found, whole = part.summaries(), logit_scan.summaries(Pool(1), values)
    np.testing.assert_array_equal(found, whole[2:4])
    np.testing.assert_array_equal(rows.row(3).summaries, whole[3])
    np.testing.assert_array_equal(part.row(1).values, values[3])
    assert (calls, len(part), len(rows[2:2])) == ([5], 2, 0)
    with pytest.raises(ValueError, match="step 1"):
        rows[::2]


def test_scanned_rows_are_read_only_and_a_copy_is_not(values: np.ndarray) -> None:
    rows = LogitRows(values, scan())
    rows.summaries()
    with pytest.raises(ValueError, match="read-only"):
        rows.values[0, 77] = 1000.0
    before, copy = rows.values.copy(), rows.copy()
    copy.values[0, 77] = 1000.0
    candidates, row = Candidates(N_VOCAB), copy.row(0)
    assert candidates.load(row.values, row.summaries)
    assert candidates.draw() == 77
    np.testing.assert_array_equal(rows.values, before)


def test_a_backend_without_a_scan_has_no_summaries(values: np.ndarray) -> None:
    rows = LogitRows(values)
    assert rows.summaries() is None
    assert rows[1:].row(0).summaries is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_invalid_logits_are_found(values: np.ndarray, bad: float) -> None:
    values[3, N_VOCAB - 1] = bad
    candidates = Candidates(N_VOCAB)
    loaded = [candidates.load(row.values, row.summaries) for row in LogitRows(values, scan())]
    assert loaded == [True, True, True, False, True]


def test_wrong_shapes_are_errors(values: np.ndarray) -> None:
    pool, found = Pool(1), logit_scan.summaries(Pool(1), values)
    assert logit_scan.summaries(pool, values[:0]).shape == (0, 2, found.shape[2])
    for wrong in (np.zeros((1, 2 * N_VOCAB), np.float32)[:, ::2], np.zeros((1, 0), np.float32)):
        with pytest.raises(ValueError, match="must be contiguous"):
            logit_scan.summaries(pool, wrong)
    for summaries in (found[0, :, 1:].copy(), found[0, :1], np.repeat(found[0], 2, axis=1)[:, ::2]):
        with pytest.raises(ValueError, match=r"summaries|contiguous"):
            Candidates(N_VOCAB).load(values[0], summaries)
