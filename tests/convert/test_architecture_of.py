"""Which architecture a checkpoint is converted to."""

import pytest

from realizar.arch import registry
from realizar.convert.metadata import architecture_of
from realizar.errors import UnknownArchitectureError

NEMOTRON = {"architectures": ["NemotronHForCausalLM"]}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "llama"),
        ({"architectures": ["Unknown", "LlamaForCausalLM"]}, "llama"),
        ({**NEMOTRON, "hybrid_override_pattern": "M-M*-"}, "nemotron_h"),
        ({**NEMOTRON, "hybrid_override_pattern": "MEM*E"}, "nemotron_h_moe"),
        ({**NEMOTRON, "layers_block_type": ["linear_attention", "moe"]}, "nemotron_h_moe"),
    ],
)
def test_architecture(config, name):
    assert architecture_of(config, registry.default()).name == name


def test_unknown_class():
    with pytest.raises(UnknownArchitectureError, match=r"Zebra.*LlamaForCausalLM"):
        architecture_of({"architectures": ["Zebra"]}, registry.default())
