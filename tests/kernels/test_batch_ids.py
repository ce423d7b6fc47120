"""Range checks of a step's ids, compared with numpy."""

import numpy as np
import pytest

from realizar._kernels.batch_ids import first_out_of_range, sequence_lengths

GOOD = [np.array([0, 6, 3], np.int32), np.array([], np.int32), np.arange(40, dtype=np.int32)]
LIMITS = [7, 0, 40]


def test_ids_within_their_limits_are_accepted():
    assert first_out_of_range(GOOD, LIMITS) == -1


@pytest.mark.parametrize("bad", [-1, 7, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_first_array_with_an_id_outside_is_named(bad, at):
    ids = GOOD[0].copy()
    ids[at] = bad
    assert first_out_of_range([GOOD[2], ids, ids], [40, 7, 7]) == 1


def test_every_int32_id_is_below_a_limit_of_2_31():
    ids = np.array([2**31 - 1], np.int32)
    assert first_out_of_range([ids], [2**31]) == -1
    assert first_out_of_range([-ids], [2**31]) == 0


def test_lengths_equal_numpy():
    rng = np.random.default_rng(1)
    start = np.concatenate([[0], rng.integers(1, 100, 30).cumsum()]).astype(np.int32)
    past = rng.integers(0, 2**31 - 1, 30).astype(np.int32)
    lengths = np.diff(start).astype(np.int64) + past
    assert sequence_lengths(start, past) == (lengths.min(), lengths.max())


def test_lengths_of_no_sequence_are_an_error():
    with pytest.raises(ValueError, match="1 starts of 0 sequences"):
        sequence_lengths(np.zeros(1, np.int32), np.zeros(0, np.int32))
