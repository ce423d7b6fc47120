"""Which architecture converts the language model of a model of pictures: the class of the whole does not say it."""

import pytest

from realizar.arch import registry
from realizar.convert.metadata import architecture_of
from realizar.errors import UnknownArchitectureError


@pytest.mark.parametrize(
    ("whole", "text", "want"),
    [
        ("Mistral3", "mistral", "llama"), ("Mistral3", "ministral3", "mistral3"), ("Llava", "llama", "llama"),
        ("Llava", "mistral", "llama"), ("Llava", "qwen2", "qwen2"), ("InternVL", "qwen2", "qwen2"),
        ("InternVL", "qwen3", "qwen3"), ("Lfm2Vl", "lfm2", "lfm2"),
    ],
)  # fmt: skip
def test_the_type_of_the_text_decides(whole, text, want):
    config = {"architectures": [f"{whole}ForConditionalGeneration"], "model_type": text, "text_config": {}}
    assert architecture_of(config, registry.default()).name == want


def test_an_unknown_type_of_text_is_refused():
    config = {"architectures": ["InternVLForConditionalGeneration"], "model_type": "other", "text_config": {}}
    with pytest.raises(UnknownArchitectureError):
        architecture_of(config, registry.default())


@pytest.mark.parametrize(("name", "want"), [("Qwen2", "qwen2"), ("Qwen3", "qwen3"), ("Ministral3", "mistral3")])
def test_text_models_are_known_by_their_class(name, want):
    config = {"architectures": [f"{name}ForCausalLM"], "model_type": "a fork"}
    assert architecture_of(config, registry.default()).name == want
