"""The architectures of 2025 and 2026 pass the conformance kit."""

import numpy as np
import pytest

from realizar.arch import registry
from realizar.errors import GGUFError, TensorError
from realizar.gguf import GGMLType, GGUFWriter
from realizar.model import load
from realizar.testing import check_architecture, check_same_bits, tiny_metadata, tiny_model
from tests.isa import LEVELS

EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 256}
LFM2 = {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 2]}
GRANITE = {"embedding_scale": 12.0, "residual_scale": 0.22, "attention.scale": 0.2, "logit_scale": 8.0}
MAMBA2 = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 8}
NEMOTRON_H = {**MAMBA2, "ssm.group_count": 2, "block_count": 4, "attention.head_count_kv": [0, 0, 2, 0]}
GEMMA4 = {
    "block_count": 4, "attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False] * 2,
    "attention.head_count_kv": [2, 1] * 2, "attention.key_length": 128, "attention.value_length": 128,
    "attention.key_length_swa": 64, "attention.value_length_swa": 64, "rope.dimension_count_swa": 64,
    "final_logit_softcapping": 5.0,
}  # fmt: skip
PER_LAYER = {"embedding_length_per_layer_input": 32, "attention.shared_kv_layers": 2}

XIELU = {
    "xielu.alpha_p": [0.9, 0.8], "xielu.alpha_n": [0.7, 0.6], "xielu.beta": [0.5, 0.5], "xielu.eps": [-1e-6, -1e-6],
}  # fmt: skip

# Test name -> architecture, keys in addition to those of `tiny_metadata`.
FAMILIES = {
    "ernie4_5": ("ernie4_5", {}),
    "ernie4_5-moe": (
        "ernie4_5-moe",
        {**EXPERTS, "block_count": 4, "leading_dense_block_count": 1, "interleave_moe_layer_step": 2,
         "expert_shared_count": 1},
    ),
    "minimax-m2": ("minimax-m2", {**EXPERTS, "rope.dimension_count": 16}),
    "exaone": ("exaone", {}),
    "exaone4": ("exaone4", {}),
    "exaone4 with windows": ("exaone4", {"attention.sliding_window": 16, "attention.sliding_window_pattern": 2}),
    "exaone-moe": (
        "exaone-moe",
        {**EXPERTS, "attention.sliding_window": 16, "attention.sliding_window_pattern": 2,
         "leading_dense_block_count": 1, "expert_shared_count": 1},
    ),
    "command-r": ("command-r", {"logit_scale": 0.25}),
    "cohere2": (
        "cohere2",
        {"logit_scale": 0.25, "attention.sliding_window": 16, "attention.sliding_window_pattern": 2},
    ),
    "cohere2moe": (
        "cohere2moe",
        {**EXPERTS, "logit_scale": 0.25, "attention.sliding_window": 16, "block_count": 3, "expert_shared_count": 1,
         "leading_dense_block_count": 1, "attention.layer_norm_rms_epsilon": None},
    ),
    "cohere2moe with RMS norms": ("cohere2moe", {**EXPERTS, "attention.sliding_window": 16}),
    "hunyuan-dense": ("hunyuan-dense", {"rope.scaling.alpha": 50.0}),
    "hunyuan-moe": ("hunyuan-moe", {**EXPERTS, "expert_shared_feed_forward_length": 256}),
    "hy_v3": ("hy_v3", {**EXPERTS, "expert_shared_count": 1, "expert_weights_scale": 2.5}),
    "bailingmoe": ("bailingmoe", {**EXPERTS, "expert_shared_count": 1}),
    "bailingmoe2": (
        "bailingmoe2",
        {**EXPERTS, "expert_shared_count": 1, "leading_dense_block_count": 1, "rope.dimension_count": 32,
         "expert_group_count": 2, "expert_group_used_count": 1},
    ),
    "dots1": ("dots1", {**EXPERTS, "expert_shared_count": 2, "leading_dense_block_count": 1}),
    "arcee": (
        "arcee",
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64},
    ),
    "afmoe": (
        "afmoe",
        {**EXPERTS, "attention.sliding_window": 16, "attention.sliding_window_pattern": 2,
         "leading_dense_block_count": 1, "expert_shared_count": 1, "expert_weights_scale": 2.5},
    ),
    "mellum": (
        "mellum",
        {**EXPERTS, "attention.sliding_window": 16, "attention.sliding_window_pattern": 2, "rope.scaling.type": "yarn",
         "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64, "rope.freq_base_swa": 5000.0},
    ),
    "internlm2": ("internlm2", {}),
    "maincoder": ("maincoder", {}),
    "orion": ("orion", {}),
    "seed_oss": ("seed_oss", {"attention.key_length": 96, "attention.value_length": 96}),
    "xverse": ("xverse", {}),
    "jais2": ("jais2", {}),
    "minicpm": ("minicpm", {"embedding_scale": 12.0, "residual_scale": 0.5, "logit_scale": 2.0}),
    "minicpm3": (
        "minicpm3",
        {"attention.q_lora_rank": 64, "attention.kv_lora_rank": 64, "attention.key_length": 96,
         "rope.dimension_count": 32},
    ),
    "plm": (
        "plm",
        {"attention.kv_lora_rank": 64, "attention.key_length": 96, "attention.value_length": 64,
         "rope.dimension_count": 32},
    ),
    "mimo2": (
        "mimo2",
        {**EXPERTS, "attention.head_count_kv": [2, 4], "attention.key_length": 96, "attention.value_length": 64,
         "attention.sliding_window": 16, "attention.sliding_window_pattern": [False, True],
         "rope.dimension_count": 32, "attention.value_scale": 0.7},
    ),
    "olmo": ("olmo", {"attention.clamp_kqv": 0.5}),
    "olmo without a limit": ("olmo", {}),
    "apertus": ("apertus", XIELU),
    "llama4": ("llama4", {**EXPERTS, "expert_used_count": 1, "block_count": 4, "interleave_moe_layer_step": 2}),
    "laguna": (
        "laguna",
        {**EXPERTS, "attention.head_count": [2, 4], "attention.key_length": 64, "attention.value_length": 64,
         "attention.sliding_window": 16, "rope.dimension_count": 32, "rope.dimension_count_swa": 64,
         "expert_shared_count": 1},
    ),
    "bloom": ("bloom", {"attention.head_count_kv": 4}),
    "mpt": ("mpt", {"attention.max_alibi_bias": 8.0, "attention.clamp_kqv": 0.5}),
    "mpt without ALiBi": ("mpt", {}),
    "bitnet": ("bitnet", {}),
    "openelm": (
        "openelm",
        {"attention.head_count": [2, 4], "attention.head_count_kv": [1, 2], "feed_forward_length": [256, 512],
         "attention.key_length": 64, "attention.value_length": 64},
    ),
    "deepseek": ("deepseek", {**EXPERTS, "leading_dense_block_count": 1, "expert_shared_count": 2}),
    "smallthinker": (
        "smallthinker",
        {**EXPERTS, "block_count": 3, "attention.sliding_window": 16, "attention.sliding_window_pattern": 2},
    ),
    "smallthinker without windows": ("smallthinker", EXPERTS),
    "step35": (
        "step35",
        {**EXPERTS, "attention.head_count": [2, 4], "attention.head_count_kv": [1, 2], "attention.key_length": 64,
         "attention.value_length": 64, "attention.sliding_window": 16, "expert_shared_count": 1,
         "attention.sliding_window_pattern": [False, True], "swiglu_clamp_exp": [0.5, 0.0],
         "swiglu_clamp_shexp": [0.0, 0.4]},
    ),
    "lfm2": ("lfm2", LFM2),
    "lfm2 with a window": ("lfm2", {**LFM2, "attention.sliding_window": 16}),
    "gemma4": ("gemma4", GEMMA4),
    "gemma4 with per-layer embeddings": (
        "gemma4",
        {**GEMMA4, **PER_LAYER, "feed_forward_length": [256, 256, 512, 512]},
    ),
    "gemma4 with experts": (
        "gemma4",
        {
            **GEMMA4,
            **EXPERTS,
            "block_count": 2,
            "attention.sliding_window_pattern": 2,
            "attention.head_count_kv": [2, 1],
        },
    ),
    "gemma3n": (
        "gemma3n",
        {
            **PER_LAYER,
            "block_count": 4,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": 2,
            "activation_sparsity_scale": [0.5, -float("inf"), 0.5, -float("inf")],
        },
    ),
    "lfm2moe": ("lfm2moe", {**LFM2, **EXPERTS, "expert_gating_func": 2, "leading_dense_block_count": 1}),
    "granitemoe": ("granitemoe", {**GRANITE, **EXPERTS, "expert_shared_feed_forward_length": 256}),
    "granite_swa": (
        "granite_swa",
        {**GRANITE, "attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False],
         "attention.rope_pattern": [False, True]},
    ),
    "granitehybrid": (
        "granitehybrid",
        {**GRANITE, **MAMBA2, **EXPERTS, "attention.head_count_kv": [0, 2], "rope.scaling.finetuned": False},
    ),
    "granitehybrid without experts": (
        "granitehybrid", {**MAMBA2, "attention.head_count_kv": [0, 2], "rope.dimension_count": 32},
    ),
    "nemotron": ("nemotron", {"rope.dimension_count": 32}),
    "nemotron_h": ("nemotron_h", {**NEMOTRON_H, "feed_forward_length": [0, 512, 0, 256]}),
    "nemotron_h_moe": (
        "nemotron_h_moe",
        {**NEMOTRON_H, **EXPERTS, "feed_forward_length": [0, 256, 0, 256], "expert_shared_feed_forward_length": 512},
    ),
    "nemotron_h_moe with a latent width": (
        "nemotron_h_moe",
        {**NEMOTRON_H, **EXPERTS, "feed_forward_length": [0, 256, 0, 256], "expert_shared_feed_forward_length": 512,
         "moe_latent_size": 128, "expert_weights_norm": True, "expert_weights_scale": 2.5},
    ),
    "mistral3": (
        "mistral3",
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 16.0, "rope.scaling.original_context_length": 16,
         "rope.scaling.yarn_log_multiplier": 1.0, "attention.temperature_scale": 0.1},
    ),
    "mistral3 without temperature": ("mistral3", {**EXPERTS, "expert_shared_feed_forward_length": 256}),
    "muse-glimmer": (
        "muse-glimmer",
        {"attention.sliding_window": 16, "attention.sliding_window_pattern": [True, False], "logit_scale": 0.2,
         "final_logit_softcapping": 20.0},
    ),
    "chatglm": ("chatglm", {"rope.dimension_count": 32}),
    "glm4": ("glm4", {"rope.dimension_count": 32}),
    "glm4 of a model of pictures": ("glm4", {"rope.dimension_count": 32, "rope.dimension_sections": [4, 6, 6, 0]}),
    "glm4moe": (
        "glm4moe",
        {**EXPERTS, "expert_gating_func": 2, "leading_dense_block_count": 1, "expert_shared_count": 1,
         "expert_weights_norm": True, "expert_weights_scale": 1.5, "rope.dimension_count": 32},
    ),
    "chameleon": ("chameleon", {}),
    "chameleon with norms after": ("chameleon", {"swin_norm": True}),
    "paddleocr": ("paddleocr", {"rope.dimension_sections": [8, 12, 12, 0]}),
    "qwen2vl": ("qwen2vl", {"rope.dimension_sections": [8, 12, 12, 0]}),
    "qwen3vl": ("qwen3vl", {"rope.dimension_sections": [12, 10, 10, 0]}),
    "qwen3vlmoe": ("qwen3vlmoe", {**EXPERTS, "rope.dimension_sections": [12, 10, 10, 0]}),
    "falcon-h1": ("falcon-h1", MAMBA2),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_conformance(name):
    arch, keys = FAMILIES[name]
    metadata = {key if key.startswith("xielu.") else f"{arch}.{key}": value for key, value in keys.items()}
    check_architecture(registry.default().architecture(arch), metadata, types=("Q4_K",), isa_levels=LEVELS)


def test_encoder_of_a_decoder_architecture(tmp_path):
    """LFM2.5-Embedding, for example, has the same architecture name as the language models."""
    keys = {**tiny_metadata("lfm2"), **{f"lfm2.{key}": value for key, value in LFM2.items()}}
    arch = registry.default().architecture("lfm2")
    with (
        pytest.raises(GGUFError, match=r"^lfm2\.attention\.causal = false: the file is of an encoder"),
        tiny_model(arch, {**keys, "lfm2.attention.causal": False}, "F32", tmp_path),
    ):
        pass


def test_qwen2moe_without_biases(tmp_path):
    """Config.json may say that q, k and v have none (`qkv_bias` false)."""
    keys = {"expert_count": 4, "expert_used_count": 2, "expert_shared_feed_forward_length": 256}
    metadata = {**tiny_metadata("qwen2moe"), **{f"qwen2moe.{key}": value for key, value in keys.items()}}
    arch = registry.default().architecture("qwen2moe")
    with tiny_model(arch, metadata, "F32", tmp_path, optional=False) as model:
        assert not any(name.endswith(".bias") for name in model.file.tensors)
        check_same_bits(model, "decode", LEVELS)


def test_olmo_with_biases(tmp_path):
    """Such a file has the biases of q and k in another order than their rows."""
    path = tmp_path / "olmo.gguf"
    metadata, arch = tiny_metadata("olmo"), registry.default().architecture("olmo")
    with tiny_model(arch, metadata, "F32", tmp_path) as model:
        writer = GGUFWriter(path)
        for key, value in metadata.items():
            writer.add(key, value)
        shapes = {name: tensor.shape for name, tensor in model.file.tensors.items()}
        for name, shape in {**shapes, "blk.0.attn_q.bias": (256,)}.items():
            writer.add_tensor(name, np.zeros(shape, np.float32).view(np.uint8), shape, GGMLType.F32)
        writer.write()
    with pytest.raises(TensorError, match=r"blk\.0\.attn_q\.bias: .* holds what its architecture does not declare"):
        load(path)
