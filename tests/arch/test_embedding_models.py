"""The embedding models and rerankers of 2025 and 2026 pass the conformance kit."""

import pytest

from realizar.arch import ArchMetadata, registry
from realizar.errors import GGUFError
from realizar.testing import check_architecture, relative_error, tiny_metadata, tiny_model
from tests.engine.fake import FakeTokenizer
from tests.engine.test_encoders import encoded, engine
from tests.isa import LEVELS

LABELS = ["a", "b", "c"]
WINDOW = {"attention.sliding_window": 16, "rope.freq_base_swa": 1000.0}
# Test name -> architecture, keys in addition to those of `tiny_metadata`.
MODELS = {
    "bert with three classes": ("bert", {"classifier.output_labels": LABELS}),
    "jina-bert-v3": ("jina-bert-v3", {}),
    "nomic-bert-moe": ("nomic-bert-moe", {"expert_count": 4, "expert_used_count": 2, "expert_weights_scale": 0.5}),
    "modern-bert": ("modern-bert", WINDOW),
    "modern-bert with silu and a class of the first token": (
        "modern-bert",
        {**WINDOW, "hidden_activation": "silu", "classifier.pooling_type": 2, "attention.sliding_window_pattern": 2},
    ),
    "neo-bert": ("neo-bert", {}),
    "eurobert": ("eurobert", {}),
    "llama-embed": ("llama-embed", {}),
    "gemma-embedding": ("gemma-embedding", {**WINDOW, "block_count": 6}),
    "gemma-embedding with a wide dense layer": ("gemma-embedding", {**WINDOW, "dense_2_feat_out": 512}),
    "qwen3 with two classes": ("qwen3", {"classifier.output_labels": ["yes", "no"]}),
}


def tiny_keys(name, keys):
    return {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in keys.items()}}


@pytest.mark.parametrize("model", MODELS)
def test_conformance(model):
    name, keys = MODELS[model]
    arch = registry.default().architecture(name)
    check_architecture(arch, tiny_keys(name, keys), types=("F32", "Q8_0"), isa_levels=LEVELS)


def hparams(name, keys):
    return registry.default().architecture(name).hparams(ArchMetadata(tiny_keys(name, keys), name))


def test_layers_with_a_window():
    """ModernBERT: the first of three has none; EmbeddingGemma: the last of six."""
    windows = hparams("modern-bert", {**WINDOW, "block_count": 7}).windows
    assert [windows[i] for i in range(7)] == [0, 16, 16, 0, 16, 16, 0]
    windows = hparams("gemma-embedding", {**WINDOW, "block_count": 7}).windows
    assert [windows[i] for i in range(7)] == [16, 16, 16, 16, 16, 0, 16]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_activation", "tanh"),
        ("classifier.pooling_type", 3),
        ("classifier.pooling_type", "cls"),
        ("classifier.output_labels", "yes"),
        ("classifier.output_labels", [1, 2]),
        ("classifier.output_labels", 2),
    ],
)
def test_unknown_values(key, value):
    with pytest.raises(GGUFError, match=rf"^modern-bert\.{key}: "):
        hparams("modern-bert", {key: value})


def test_windows_over_many_tiles(tmp_path):
    """A text of more keys than the kernels take at once, against numpy."""
    keys = tiny_keys("modern-bert", {**WINDOW, "attention.sliding_window": 130, "context_length": 1200})
    text = [i % 280 for i in range(1, 1100)]
    with tiny_model(registry.default().architecture("modern-bert"), keys, "F32", tmp_path) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        size = {"n_batch": 1100, "n_ctx": 1100, "n_seqs": 1}
        (kernels,), (numpy,) = (encoded(engine(model, backend=name, **size), text) for name in ("cpu", "numpy"))
    assert relative_error(kernels, numpy) < 1e-5
