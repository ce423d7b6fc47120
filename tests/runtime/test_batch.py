"""Batch.check: validation of batches."""

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


def test_a_valid_batch():
    batch().check()
    batch(outputs=i32()).check()
    assert (batch().n_tokens, batch().n_seqs) == (4, 2)


def test_a_valid_batch_with_embeddings_and_spans():
    rows = np.zeros((2, 8), np.float32)
    batch(tokens=i32(0, 6, 0, 8), embeddings=rows, embedding_rows=i32(0, 2)).check()
    batch(positions=i32([17, 18, 19, 0], [3, 3, 4, 0], [1, 2, 1, 0])).check()
    batch(spans=i32([0, 2], [2, 3], [3, 4])).check()
    batch(adapters=i32(0, 7)).check()


def test_embedding_and_span_of_each_row():
    parts = batch(tokens=i32(0, 6, 0, 8), embeddings=np.zeros((2, 8), np.float32), embedding_rows=i32(0, 2),
                  spans=i32([0, 3], [3, 4]))  # fmt: skip
    np.testing.assert_array_equal(parts.embedding_of(), [0, -1, 1, -1])
    np.testing.assert_array_equal(parts.reach(), [[0, 2], [1, 1], [2, 0], [0, 0]])
    assert batch().embedding_of() is None
    assert batch().reach() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", np.array([5, 6, 7, 8])),
        ("positions", i32(17, 18, 19, 0)),
        ("positions", i32([17, 18, 19])),
        ("positions", np.zeros((0, 4), np.int32)),
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
def test_errors_name_the_array(name, value):
    with pytest.raises(ParameterError, match=r"Batch\.(tokens|" + name + ")"):
        batch(**{name: value}).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": None}, "embeddings must come with embedding_rows"),
        ({"embeddings": None}, "embeddings must come with embedding_rows"),
        ({"embeddings": np.zeros((0, 8), np.float32), "rows": i32()}, "embeddings must be rows of n_embd floats"),
        ({"embeddings": np.zeros(8, np.float32)}, "embeddings must be rows of n_embd floats"),
        ({"embeddings": np.zeros((2, 8))}, "embeddings must be contiguous float32"),
        ({"rows": i32(0)}, "embedding_rows must be contiguous int32 .2."),
        ({"rows": i32(2, 0)}, "embedding_rows must be rows below 4"),
        ({"rows": i32(0, 4)}, "embedding_rows must be rows below 4"),
        ({"rows": i32(0, 1)}, "tokens must be 0 where embeddings enter"),
    ],
)
def test_invalid_embeddings(changes, message):
    good = {"embeddings": np.zeros((2, 8), np.float32), "rows": i32(0, 2)} | changes
    with pytest.raises(ParameterError, match=r"Batch\." + message):
        batch(tokens=i32(0, 6, 0, 8), embeddings=good["embeddings"], embedding_rows=good["rows"]).check()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        (np.zeros((0, 2), np.int32), "be None if there are none"),
        (i32(0, 2), "be contiguous int32"),
        (i32([0, 2, 3]), "be contiguous int32"),
        (i32([1, 1]), "be ranges of rows up to 4"),
        (i32([-1, 1]), "be ranges of rows up to 4"),
        (i32([3, 5]), "be ranges of rows up to 4"),
        (i32([0, 2], [1, 3]), "be ranges of rows up to 4"),
        (i32([1, 3], [0, 1]), "be ranges of rows up to 4"),
        (i32([2, 4]), "each lie within one sequence"),
    ],
)
def test_invalid_spans(spans, message):
    with pytest.raises(ParameterError, match=r"Batch\.spans must " + message):
        batch(spans=spans).check()


def test_rows_by_state_slot():
    drafts = batch(state_slots=i32(4, 5), n_drafts=i32(2, 0), draft_slots=i32(6, 0))
    drafts.check()
    assert drafts.state_runs(0) == [(0, 1, 4), (1, 3, 6)]
    assert drafts.state_runs(1) == [(3, 4, 5)]
    assert batch(state_slots=i32(4, 5)).state_runs(0) == [(0, 3, 4)]


@pytest.mark.parametrize(
    ("n_drafts", "slots", "message"),
    [
        (i32(1, 0), None, "n_drafts must come with draft_slots"),
        (None, i32(1, 0), "n_drafts must come with draft_slots"),
        (i32(1), i32(1, 0), "n_drafts must be contiguous int32"),
        (i32(1, 0), i32(1), "draft_slots must be contiguous int32"),
        (i32(3, 0), i32(1, 0), "n_drafts must be less than the rows"),
        (i32(-1, 0), i32(1, 0), "n_drafts must be less than the rows"),
        (i32(1, 0), i32(-1, 0), "draft_slots must be slots"),
        (i32(1, 0), i32(0, 0), "draft_slots must be slots"),
    ],
)
def test_invalid_drafts(n_drafts, slots, message):
    with pytest.raises(ParameterError, match=r"Batch\." + message):
        batch(n_drafts=n_drafts, draft_slots=slots).check()


@pytest.mark.parametrize("adapters", [i32(0), i32(0, -1)])
def test_invalid_adapters(adapters):
    with pytest.raises(ParameterError, match=r"Batch\.adapters must "):
        batch(adapters=adapters).check()
