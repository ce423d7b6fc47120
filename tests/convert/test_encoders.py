"""Converted encoders and encoder-decoders give the same outputs as transformers."""

import json

import numpy as np
import pytest

from realizar import LLM
from realizar.convert import convert
from realizar.errors import GGUFError
from realizar.gguf import GGUFFile

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
TOKENS = np.random.default_rng(0).integers(3, 288, 40)
ANSWER = [0, *np.random.default_rng(1).integers(3, 288, 12).tolist()]
BERT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 288,
    "max_position_embeddings": 128, "pad_token_id": 1,
}  # fmt: skip
T5 = {
    "d_model": 64, "d_kv": 24, "d_ff": 96, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "vocab_size": 288,
    "decoder_start_token_id": 0,
}  # fmt: skip
WINDOWS = {"full_attention": {"rope_type": "default", "rope_theta": 1e5},
           "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}  # fmt: skip
MODERN = {**BERT, "num_hidden_layers": 4, "local_attention": 16, "bos_token_id": 2, "eos_token_id": 3,
          "cls_token_id": 2, "sep_token_id": 3}  # fmt: skip
GEMMA = {
    **BERT, "num_key_value_heads": 2, "head_dim": 32, "num_hidden_layers": 6, "sliding_window": 16,
    "use_bidirectional_attention": True, "query_pre_attn_scalar": 32, "rope_parameters": WINDOWS,
}  # fmt: skip
ENCODERS = {
    "bert": ("BertModel", BERT),
    "roberta": ("RobertaModel", {**BERT, "type_vocab_size": 1}),
    "xlm-roberta with a head": ("XLMRobertaForMaskedLM", {**BERT, "type_vocab_size": 1}),
    "nomic": ("NomicBertModel", {**BERT, "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}),
    "t5encoder": ("T5EncoderModel", T5),
    "modern-bert": ("ModernBertModel", MODERN),
    "eurobert": ("EuroBertModel", {**BERT, "num_key_value_heads": 2}),
    "jina-3": ("JinaEmbeddingsV3Model", {**BERT, "type_vocab_size": 1}),
    "embeddinggemma": ("Gemma3TextModel", GEMMA),
}
RERANKERS = {
    "xlm-roberta": ("XLMRobertaForSequenceClassification", {**BERT, "type_vocab_size": 1, "num_labels": 1}),
    "modern-bert": ("ModernBertForSequenceClassification", {**MODERN, "num_labels": 1}),
    "modern-bert of the mean": (
        "ModernBertForSequenceClassification",
        {**MODERN, "classifier_pooling": "mean", "id2label": {0: "a", 1: "b", 2: "c"}},
    ),
}
ANSWERERS = {
    "t5": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "flan": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}


def made(name, config, folder):
    """Save and convert a model with random weights, biases and norms."""
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    model = kind(kind.config_class(**config)).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        if config.get("tie_word_embeddings") is False:  # as published; transformers 5 ties new models
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
            model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    convert(folder, folder / "model.gguf", "F32")
    return model


def close(found, want):
    want = want[0].numpy()
    return np.linalg.norm(found - want) <= 2e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("name", ENCODERS)
def test_hidden_states(name, tmp_path):
    model = made(*ENCODERS[name], tmp_path)
    with torch.no_grad():
        want = model(torch.tensor(TOKENS[None]), output_hidden_states=True)
    want = want.hidden_states[-1] if name.endswith("a head") else want.last_hidden_state
    with LLM(tmp_path / "model.gguf", activations="f32", kv_type="f32") as llm:
        assert close(llm.embed(TOKENS.tolist(), pooling=None)[0], want)


@pytest.mark.parametrize("name", RERANKERS)
def test_classes(name, tmp_path):
    model = made(*RERANKERS[name], tmp_path)
    with torch.no_grad():
        want = model(torch.tensor(TOKENS[None])).logits
    with LLM(tmp_path / "model.gguf", activations="f32", kv_type="f32") as llm:
        assert close(llm.embed(TOKENS.tolist(), pooling="rank")[0], want)
        assert sorted(llm.classify(TOKENS.tolist())[0]) == sorted(model.config.id2label.values())


@pytest.mark.parametrize("name", ANSWERERS)
def test_generation(name, tmp_path):
    model = made("T5ForConditionalGeneration", {**T5, **ANSWERERS[name]}, tmp_path)
    with torch.no_grad():
        want = model(torch.tensor(TOKENS[None]), decoder_input_ids=torch.tensor([ANSWER])).logits
    with LLM(tmp_path / "model.gguf", activations="f32", kv_type="f32") as llm:
        assert close(llm.logits(TOKENS.tolist(), decoder_tokens=ANSWER), want)


@pytest.mark.parametrize(("mode", "number"), [("mean_tokens", 1), ("cls_token", 2), ("lasttoken", 3), ("max", None)])
def test_pooling_of_sentence_transformers(mode, number, tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    made(*ENCODERS["bert"], tmp_path)
    with GGUFFile(tmp_path / "model.gguf") as file:
        assert file.metadata.get("bert.pooling_type") == number


def test_malformed_modules_json(tmp_path):
    (tmp_path / "modules.json").write_text('[{"path": "1_Pooling"}]')
    with pytest.raises(GGUFError, match=r"modules\.json: is not in the format"):
        made(*ENCODERS["bert"], tmp_path)
