"""The tiny models of which make_parity_case makes parity cases: classes of transformers and configurations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Tensors = dict[str, Any]  # name in the checkpoint -> torch.Tensor

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NOTHING = dict.fromkeys(SIZES)
SHARED = {
    "hidden_size": 32, "num_attention_heads": 2, "num_experts": 4, "num_experts_per_tok": 2, "qkv_bias": False,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """A model of transformers.

    Attributes
    ----------
    config_class : str
    config : dict
        Arguments of the configuration, in addition to SIZES; None removes one of these.
    note : str
        What the case covers.
    model_class : str
        A class of transformers, or an Auto class, which chooses one by the configuration.
    kind : {"causal", "encoder"}
        Whether logits are compared, or hidden states.
    checkpoint : str
        What config.json is to name as the class, if it is another one (whose equations are the same).
    rename : callable
        The tensors of transformers' checkpoint and the configuration -> those of the checkpoint to convert.
    keys : dict
        Keys of config.json that are to differ.
    zero : tuple of str
        Ends of the names of tensors that are to be zero.
    bidirectional : bool
        Every token attends to all others, although transformers' class is causal.
    """

    config_class: str
    config: Mapping[str, Any]
    note: str
    model_class: str = "AutoModelForCausalLM"
    kind: str = "causal"
    checkpoint: str = ""
    rename: Callable[[Tensors, Any], Tensors] = lambda tensors, config: tensors
    keys: Mapping[str, Any] = field(default_factory=dict)
    zero: tuple[str, ...] = ()
    bidirectional: bool = False


def pictures(**text: Any) -> dict[str, Any]:
    """The configuration of a model with an encoder of pictures, which is not used."""
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32,
              "num_hidden_layers": 1, "num_attention_heads": 2, "num_position_embeddings": 4, "pos_emb_height": 2,
              "pos_emb_width": 2, "deepstack_visual_indexes": [0]}  # fmt: skip
    text = {**SIZES, "tie_word_embeddings": False, **text}
    return {**NOTHING, "text_config": text, "vision_config": vision, "tie_word_embeddings": False}


def internlm2(tensors: Tensors, config: Any) -> Tensors:
    """InternLM 2's names; each key head is stored after the query heads that share it, and before its value head."""
    import torch

    names = {
        "embed_tokens": "tok_embeddings", "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1",
        "mlp.down_proj": "feed_forward.w2", "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm", "lm_head": "output",
    }  # fmt: skip
    out = {}
    for name, tensor in tensors.items():
        if "self_attn" not in name or "o_proj" in name:
            out[next((name.replace(old, new) for old, new in names.items() if old in name), name)] = tensor
    for i in range(config.num_hidden_layers):
        q, k, v = (tensors[f"model.layers.{i}.self_attn.{part}_proj.weight"] for part in "qkv")
        heads = [part.view(config.num_key_value_heads, -1, config.hidden_size) for part in (q, k, v)]
        out[f"model.layers.{i}.attention.wqkv.weight"] = torch.cat(heads, 1).flatten(0, 1)
    return out


def deepseek(tensors: Tensors, config: Any) -> Tensors:
    """DeepSeekMoE's names; Qwen 2 MoE's gate of the shared expert, made of zeros, is a factor of one half."""
    kept = {name: tensor for name, tensor in tensors.items() if "shared_expert_gate" not in name}
    halves = {name: tensor / 2 for name, tensor in kept.items() if "shared_expert.down_proj" in name}
    return {name.replace("shared_expert.", "shared_experts."): t for name, t in {**kept, **halves}.items()}


def bailing(tensors: Tensors, config: Any) -> Tensors:
    """Ling's names; q, k and v are one tensor."""
    import torch

    out = {name.replace("embed_tokens", "word_embeddings"): t for name, t in deepseek(tensors, config).items()}
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}"
        parts = [out.pop(f"{layer}.self_attn.{part}_proj.weight") for part in "qkv"]
        out[f"{layer}.attention.query_key_value.weight"] = torch.cat(parts)
        out[f"{layer}.attention.dense.weight"] = out.pop(f"{layer}.self_attn.o_proj.weight")
    return out


def maincoder(tensors: Tensors, config: Any) -> Tensors:
    """Maincoder's names and order: rotary pairs are neighbours, where Hunyuan's are half a head apart."""
    out = dict(tensors)
    for name, t in tensors.items():
        if ("layernorm" in name and "self_attn" in name) or "q_proj" in name or "k_proj" in name:
            pairs = t.unflatten(0, (-1, 2, config.head_dim // 2)).transpose(1, 2).flatten(0, 2)
            out[name.replace("query_layernorm", "q_norm").replace("key_layernorm", "k_norm")] = pairs
    return {name: t for name, t in out.items() if "query_layer" not in name and "key_layer" not in name}


TINY = {
    "bloom": Tiny(
        "BloomConfig",
        {"hidden_size": 32, "n_layer": 2, "n_head": 2, "num_key_value_heads": None},
        "ALiBi, layer norms and biases everywhere, a norm of the embeddings; q, k and v of a head are neighbours",
    ),
    "mpt": Tiny(
        "MptConfig",
        {
            **NOTHING, "d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 128, "vocab_size": 128,
            "attn_config": {"alibi": True, "clip_qkv": 1.5},
        },
        "ALiBi, layer norms without biases, q, k and v clamped",
    ),
    "exaone": Tiny(
        "ExaoneConfig", {"rope_parameters": LLAMA3}, "EXAONE 3: llama3 rope factors", checkpoint="ExaoneForCausalLM"
    ),
    "muse_glimmer": Tiny(
        "MuseGlimmerConfig",
        {**pictures(head_dim=32, num_attention_heads=2, num_key_value_heads=1, intermediate_size=64, sliding_window=16,
                    num_hidden_layers=4, hidden_size=32), "projector_hidden_size": 32},
        "windows with rope, every fourth layer full and without; gated attention; norms before and after; softcap",
        model_class="MuseGlimmerForConditionalGeneration",
    ),
    "qwen3vlmoe": Tiny(
        "Qwen3VLMoeConfig",
        pictures(head_dim=32, num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2,
                 hidden_size=32, moe_intermediate_size=32, rope_parameters={"rope_type": "default", "rope_theta": 1e4,
                                                            "mrope_section": [6, 5, 5], "mrope_interleaved": True}),
        "text alone: experts, q and k norm, M-RoPE with equal positions",
        model_class="Qwen3VLMoeForConditionalGeneration",
    ),
    "t5encoder": Tiny(
        "T5Config",
        {
            **NOTHING, "d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 128,
            "feed_forward_proj": "gated-gelu",
        },
        "the encoder of T5 1.1 alone: gated gelu, buckets of relative positions",
        model_class="T5EncoderModel",
        kind="encoder",
    ),
    "llama_embed": Tiny(
        "LlamaConfig",
        {},
        "Llama with bidirectional attention",
        model_class="LlamaModel",
        kind="encoder",
        checkpoint="LlamaBidirectionalModel",
        bidirectional=True,
    ),
    "internlm2": Tiny(
        "LlamaConfig",
        {},
        "transformers' Llama, saved as InternLM 2: q, k and v fused",
        checkpoint="InternLM2ForCausalLM",
        rename=internlm2,
        keys={"bias": False},
    ),
    "bailingmoe": Tiny(
        "Qwen2MoeConfig",
        {**SHARED, "num_key_value_heads": 1, "norm_topk_prob": True},
        "transformers' Qwen 2 MoE, saved as Ling: fused q, k and v, normalized weights of experts, and shared experts",
        checkpoint="BailingMoeForCausalLM",
        rename=bailing,
        zero=("shared_expert_gate.weight",),
        keys={"num_shared_experts": 2, "first_k_dense_replace": 0},
    ),
    "deepseek": Tiny(
        "Qwen2MoeConfig",
        {**SHARED, "num_key_value_heads": 2, "mlp_only_layers": [0], "norm_topk_prob": False},
        "transformers' Qwen 2 MoE, saved as DeepSeekMoE: a dense layer, then experts and shared ones",
        checkpoint="DeepseekForCausalLM",
        rename=deepseek,
        zero=("shared_expert_gate.weight",),
        keys={"n_routed_experts": 4, "n_shared_experts": 2, "first_k_dense_replace": 1},
    ),
    "maincoder": Tiny(
        "HunYuanDenseV1Config",
        {"head_dim": 16},
        "transformers' Hunyuan, saved as Maincoder: q and k normalized after the rotation of pairs",
        checkpoint="MaincoderForCausalLM",
        rename=maincoder,
    ),
    "xverse": Tiny("LlamaConfig", {}, "transformers' Llama, saved as XVERSE", checkpoint="XverseForCausalLM"),
    "orion": Tiny(
        "StableLmConfig",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}},
        "transformers' StableLM with all of a head rotated, saved as Orion: layer norms with biases",
        checkpoint="OrionForCausalLM",
        keys={"rms_norm_eps": 1e-5},
    ),
}  # fmt: skip
