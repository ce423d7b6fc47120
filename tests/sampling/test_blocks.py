"""What all threads find out about a step's rows is what a chain finds out for itself, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from realizar import SamplingParams
from realizar._kernels.blocks import LogitBlocks
from realizar._kernels.plan import Pool
from realizar._kernels.sampling import Candidates
from realizar.sampling import SamplerChain

N_VOCAB = 100_003  # the last block is short


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Rows with room behind each, so many that the threads share them out."""
    x = 3 * np.random.default_rng(0).standard_normal((5, N_VOCAB + 61), np.float32)
    x[1, 200:400] = -np.inf
    return x[:, :N_VOCAB]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_same_bits(rows: np.ndarray, n_threads: int) -> None:
    blocks = LogitBlocks(Pool(n_threads), N_VOCAB)
    blocks.fill(rows)
    params = SamplingParams(top_p=0.9, temperature=0.8, logprobs=3)
    for seed, row in enumerate(rows):
        known, alone = Candidates(N_VOCAB, blocks), Candidates(N_VOCAB)
        assert known.load(row)
        assert alone.load(row)
        assert known.log_sum_exp() == alone.log_sum_exp()
        chains = [SamplerChain.from_params(params, N_VOCAB, seed, blocks=b) for b in (blocks, None)]
        assert chains[0].sample(row, [], 7) == chains[1].sample(row, [], 7)


def test_what_has_been_forgotten_is_looked_at_again(rows: np.ndarray) -> None:
    blocks, row = LogitBlocks(Pool(2), N_VOCAB), rows[:1].copy()
    blocks.fill(row)
    blocks.forget()
    row[0, 77] = 1000.0
    candidates = Candidates(N_VOCAB, blocks)
    assert candidates.load(row[0])
    assert candidates.draw() == 77


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_logits_are_seen(rows: np.ndarray, bad: float) -> None:
    blocks, row = LogitBlocks(Pool(2), N_VOCAB), rows.copy()
    row[3, N_VOCAB - 1] = bad
    blocks.fill(row)
    candidates = Candidates(N_VOCAB, blocks)
    assert [candidates.load(x) for x in row] == [True, True, True, False, True]


def test_other_shapes_are_refused(rows: np.ndarray) -> None:
    blocks = LogitBlocks(Pool(1), N_VOCAB)
    with pytest.raises(ValueError, match="a vocabulary of"):
        blocks.fill(rows[:, 1:])
    with pytest.raises(ValueError, match="not contiguous"):
        blocks.fill(np.zeros((1, 2 * N_VOCAB), np.float32)[:, ::2])
    with pytest.raises(ValueError, match="blocks are of a vocabulary"):
        Candidates(N_VOCAB + 1, blocks)
    with pytest.raises(ValueError, match="must be at least 1"):
        LogitBlocks(Pool(1), 0)
