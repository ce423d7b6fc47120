"""Control vectors from pairs of texts: the direction by its definition, and of a model that is known."""

import numpy as np
import pytest

from realizar import LLM
from realizar.errors import ParameterError
from realizar.quality.control_vector import direction, make_control_vector
from tests.limits.models import LLAMA


def test_direction():
    rng = np.random.default_rng(0)
    want = rng.standard_normal(32)
    want /= np.linalg.norm(want)
    differences = np.outer([1.0, 2.0, 3.0, 1.5], want) + 1e-3 * rng.standard_normal((4, 32))
    np.testing.assert_allclose(direction(differences), want, atol=1e-2)
    np.testing.assert_allclose(direction(-differences), -want, atol=1e-2)


def test_of_a_model():
    """With one pair it is the difference of the hidden states, at length 1."""
    found = make_control_vector(LLAMA, ["a b c"], ["x y"], n_ctx=32, n_threads=1, backend="numpy", activations="f32")
    assert list(found) == [1]
    assert np.linalg.norm(found[1]) == pytest.approx(1, abs=1e-5)
    again = make_control_vector(LLAMA, ["x y"], ["a b c"], n_ctx=32, n_threads=1, activations="f32")
    np.testing.assert_allclose(again[1], -found[1], atol=1e-3)
    with LLM(LLAMA, n_threads=1, n_ctx=32) as llm, pytest.raises(ParameterError, match="found 2 and 1"):
        make_control_vector(llm.portable_name, ["a", "b"], ["c"])
