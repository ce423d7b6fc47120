"""Inverse frequencies compared with transformers', if it is installed (extra `peers`)."""

import numpy as np
import pytest

from realizar.graph import RopeScaling
from realizar.graph.rope import rope_frequencies


@pytest.mark.parametrize("factor", [2.0, 8.0])
def test_yarn(factor):
    reason = "transformers is not installed: pip install '.[peers]'"
    transformers = pytest.importorskip("transformers", reason=reason)
    rope_utils = pytest.importorskip("transformers.modeling_rope_utils", reason=reason)
    rope = {"rope_type": "yarn", "factor": factor, "rope_theta": 5e5, "original_max_position_embeddings": 1024}
    config = transformers.LlamaConfig(
        hidden_size=512, num_attention_heads=8, max_position_embeddings=int(1024 * factor), rope_parameters=rope
    )
    want, want_scale = rope_utils.ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    found, scale = rope_frequencies(64, 5e5, RopeScaling("yarn", factor, n_ctx_orig=1024))
    assert np.allclose(found, want.numpy(), rtol=1e-6)
    assert scale == pytest.approx(want_scale, rel=1e-6)
