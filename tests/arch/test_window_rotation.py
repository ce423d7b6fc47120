"""In which architectures the scaling of rotary frequencies applies to sliding-window layers, too."""

import pytest

from realizar.arch import ArchMetadata, registry
from realizar.testing import tiny_metadata
from tests.arch.test_families import EXPERTS, FAMILIES

SCALING = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}
WINDOWS = {"attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False]}


def kinds(name, keys):
    """Return the kind of scaling in a layer with a window, and in one without."""
    keys = {**keys, **SCALING, **WINDOWS}
    md = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}, f"{name}.block_count": 2}
    hp = registry.default().architecture(name).hparams(ArchMetadata(md, name))
    return hp.windows.rotation(hp, 0).rope_scaling.kind, hp.windows.rotation(hp, 1).rope_scaling.kind


@pytest.mark.parametrize("name", ["mimo2", "step35", "laguna", "mellum", "olmo2"])
def test_scaling_of_full_attention_only(name):
    assert kinds(name, FAMILIES.get(name, (name, {}))[1]) == ("none", "yarn")


@pytest.mark.parametrize("name", ["exaone4", "cohere2", "gpt-oss"])
def test_scaling_of_all_layers(name):
    assert kinds(name, {**EXPERTS, "logit_scale": 1.0} if name != "exaone4" else {}) == ("yarn", "yarn")
