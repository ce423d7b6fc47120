"""Pooling: what becomes of the states of a text."""

import numpy as np
import pytest

from realizar.engine.scoring import pooler
from realizar.errors import ParameterError

STATES = [np.array([[3, 0], [0, 4], [6, 2]], np.float32), np.array([[0, 0]], np.float32)]


@pytest.mark.parametrize(("pooling", "want"), [("mean", [3, 2]), ("cls", [3, 0]), ("last", [6, 2])])
def test_pooling(pooling, want):
    np.testing.assert_array_equal(pooler(pooling, normalize=False)(STATES), [want, [0, 0]])


def test_length_one_where_there_is_a_length():
    np.testing.assert_allclose(pooler("mean", normalize=True)(STATES), [[3 / 13**0.5, 2 / 13**0.5], [0, 0]], rtol=1e-6)
    assert pooler("mean", normalize=True)([]).shape == (0, 0)


def test_the_states_themselves():
    assert pooler(None, normalize=True)(STATES)[0] is STATES[0]


def test_the_output_of_a_head():
    np.testing.assert_array_equal(pooler("rank", normalize=True)(STATES[1:]), [[0, 0]])
    np.testing.assert_array_equal(pooler("rank", normalize=True)([np.array([[3, 4]], np.float32)]), [[3, 4]])


def test_fewer_dimensions():
    """Cut before the length is made one."""
    np.testing.assert_array_equal(pooler("cls", normalize=True, dimensions=1, n_embd=2)(STATES), [[1], [0]])
    np.testing.assert_array_equal(pooler("mean", normalize=False, dimensions=2, n_embd=2)(STATES), [[3, 2], [0, 0]])


@pytest.mark.parametrize("wrong", [0, -1, 3, 1.5, True, "2"])
def test_dimensions_that_a_vector_lacks(wrong):
    with pytest.raises(ParameterError, match=r"^dimensions=.* must be an integer in \[1, 2\]"):
        pooler("mean", normalize=True, dimensions=wrong, n_embd=2)


@pytest.mark.parametrize("pooling", [None, "rank"])
def test_dimensions_where_there_is_no_vector(pooling):
    with pytest.raises(ParameterError, match=f"^dimensions=2: pooling={pooling!r} gives no vectors to cut"):
        pooler(pooling, normalize=True, dimensions=2, n_embd=2)


@pytest.mark.parametrize("wrong", ["max", 3, True])
def test_unknown_pooling(wrong):
    with pytest.raises(ParameterError, match="must be 'auto', 'mean', 'cls', 'last', 'rank' or None"):
        pooler(wrong, normalize=True)
