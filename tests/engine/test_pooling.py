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
    assert pooler("mean", normalize=True)([]).shape == (0,)


def test_the_states_themselves():
    assert pooler(None, normalize=True)(STATES)[0] is STATES[0]


@pytest.mark.parametrize("wrong", ["max", 3, True])
def test_unknown_pooling(wrong):
    with pytest.raises(ParameterError, match="must be 'auto', 'mean', 'cls', 'last' or None"):
        pooler(wrong, normalize=True)
