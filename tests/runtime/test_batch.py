"""Batch.check: what a batch made by hand must be."""

import dataclasses

import numpy as np
import pytest

from realizar.errors import ParameterError
from realizar.runtime.batch import Batch


def i32(*values):
    return np.array(values, np.int32)


def batch(**changes):
    """Two sequences: 3 rows after 17 tokens, and 1 row after none."""
    good = Batch(
        tokens=i32(5, 6, 7, 8),
        positions=i32([17, 18, 19, 0]),
        seq_start=i32(0, 3, 4),
        seq_past=i32(17, 0),
        block_tables=(i32([4, 2], [1, 0]),),
        state_slots=i32(0, 0),
        outputs=i32(2, 3),
    )
    return dataclasses.replace(good, **changes)


def test_a_good_batch():
    batch().check()
    batch(outputs=i32()).check()
    assert (batch().n_tokens, batch().n_seqs) == (4, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", np.array([5, 6, 7, 8])),
        ("positions", i32(17, 18, 19, 0)),
        ("positions", i32([17, 18, 19])),
        ("seq_start", i32(0, 4)),
        ("seq_start", i32(0, 0, 4)),
        ("seq_start", i32(1, 3, 4)),
        ("seq_start", i32(0, 3, 5)),
        ("seq_past", i32(-1, 0)),
        ("block_tables", (i32([4], [1]),)),
        ("block_tables", (i32([4, 2]),)),
        ("block_tables", (i32([4, -1], [1, 0]),)),
        ("state_slots", i32(0)),
        ("state_slots", i32(0, -1)),
        ("outputs", i32(3, 2)),
        ("outputs", i32(4)),
        ("outputs", i32(-1)),
    ],
)
def test_a_bad_batch_is_named(name, value):
    with pytest.raises(ParameterError, match=r"Batch\.(tokens|" + name + ")"):
        batch(**{name: value}).check()
