"""Inverse frequencies against the formulas of transformers."""

from dataclasses import replace

import numpy as np
import pytest

from realizar.errors import GraphError
from realizar.graph import RopeScaling, section_axes
from realizar.graph.rope import rope_frequencies


def test_plain():
    inv_freq, mscale = rope_frequencies(8, 10000.0, RopeScaling())
    assert np.allclose(inv_freq, 10000.0 ** (-np.arange(0, 8, 2) / 8), rtol=1e-7)
    assert mscale == 1.0


def test_linear_and_factors():
    factors = np.array([1, 2, 4, 8], np.float32)
    inv_freq, _ = rope_frequencies(8, 10000.0, RopeScaling("linear", 2.0), factors)
    assert np.allclose(inv_freq, 10000.0 ** (-np.arange(0, 8, 2) / 8) / factors / 2, rtol=1e-7)


def test_yarn_interpolates_slow_dimensions_only():
    scaling = RopeScaling("yarn", 4.0, n_ctx_orig=4096)
    inv_freq, mscale = rope_frequencies(64, 10000.0, scaling)
    plain, _ = rope_frequencies(64, 10000.0, RopeScaling())
    assert inv_freq[0] == plain[0]
    assert np.isclose(inv_freq[-1], plain[-1] / 4)
    assert np.all(inv_freq <= plain)
    assert np.all(inv_freq >= plain / 4 * (1 - 1e-6))
    assert np.isclose(mscale, 1 + 0.1 * np.log(4))


def test_unknown_scaling():
    with pytest.raises(GraphError, match="cubic"):
        rope_frequencies(8, 1e4, RopeScaling("cubic", 2.0))


def test_contiguous_sections():
    """Qwen2-VL: as transformers, each section of frequencies has its own axis."""
    assert section_axes([2, 3, 3]) == (0, 0, 1, 1, 1, 2, 2, 2)


@pytest.mark.parametrize("sections", [[24, 20, 20], [2, 1, 1], [6, 5, 5], [4, 0, 2]])
def test_interleaved_sections(sections):
    """Qwen3-VL: as in transformers, height and width replace some frequencies of time."""
    want = np.zeros(sum(sections), int)
    for axis in (1, 2):
        want[slice(axis, 3 * sections[axis], 3)] = axis
    axes = section_axes(sections, interleaved=True)
    assert axes == tuple(want)
    if sections[0] >= max(sections):
        assert [axes.count(axis) for axis in range(3)] == sections


def test_yarn_rounds_the_interpolated_range_only_if_asked():
    """gpt-oss: of 32 dimensions 8.09 to 17.40 are interpolated, in transformers and the model's own code."""
    scaling = RopeScaling("yarn", 32.0, n_ctx_orig=4096, yarn_truncate=False)
    found, _ = rope_frequencies(64, 150000.0, scaling)
    plain = 150000.0 ** (-np.arange(32) / 32)
    low, high = (64 * np.log(4096 / (turns * 2 * np.pi)) / (2 * np.log(150000.0)) for turns in (32.0, 1.0))
    share = np.clip((np.arange(32) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(found, plain / 32 * share + plain * (1 - share), rtol=1e-6)
    rounded, _ = rope_frequencies(64, 150000.0, replace(scaling, yarn_truncate=True))
    assert np.abs(rounded / found - 1).max() > 0.1
