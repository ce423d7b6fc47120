"""deepseek (DeepSeekMoE), deepseek2 (DeepSeek V2 and V3, Kimi K2, GLM-4.7-Flash) and mistral4."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    RopeScaling,
    Value,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, gqa, gqa_tensors, norm_tensors
from realizar.arch.checkpoint import PERMUTED, ROUTED_KEYS, ROUTED_NAMES, Config, Keys, Names, rope_parameters
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.mla import MLA_NAMES, mla, mla_tensors


class DeepSeek(Architecture):
    """DeepSeekMoE 16B (https://arxiv.org/abs/2401.06066): Llama's attention; dense layers, then experts.

    The weights of the chosen experts are not normalized; shared ones are beside them.
    """

    name = "deepseek"
    checkpoint = Checkpoint(("DeepseekForCausalLM",), {**PERMUTED, **ROUTED_NAMES}, ROUTED_KEYS)

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md)

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Separate q, k, v; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm")
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class DeepSeek2HParams(RoutedHParams):
    """The hyperparameters of experts, and:

    Attributes
    ----------
    n_nope, n_value : int
        Dimensions of a head without rotary embedding, and of its value.
    n_q_latent, n_latent : int
        Dimensions of compressed queries (0: not compressed), and of the compressed keys and values together.
    fused_kv : bool
        Whether the up-projections of keys and values are one tensor, as in files converted before April 2025.
    qk_scale : float
        Scale of attention scores.
    temperature, scale_period : float, int
        Factor and period of the scale of queries by position (`Graph.position_scale`); a factor of 0: no scale.
    """

    n_nope: int
    n_value: int
    n_q_latent: int
    n_latent: int
    fused_kv: bool
    qk_scale: float
    temperature: float
    scale_period: int


def gating(config: Config) -> int:
    """llama.cpp's number for softmax or sigmoid gating; config.json does not always have it."""
    names = "".join(config.get("architectures", ()))
    default = "sigmoid" if "V3" in names or "Glm4MoeLite" in names else "softmax"
    return 2 if config.get("scoring_func", default) == "sigmoid" else 1


def log_multiplier(config: Config) -> float | None:
    """YaRN's factor for scores, a tenth of that in config.json, as llama.cpp's converter writes it."""
    found = rope_parameters(config).get("mscale_all_dim")
    return None if found is None else 0.1 * float(found)


NAMES: Names = {
    **MLA_NAMES,
    **ROUTED_NAMES,
}
KEYS: Keys = {
    "attention.head_count_kv": lambda config: 1,  # the latent, which all heads share
    "attention.key_length": lambda config: config["kv_lora_rank"] + config["qk_rope_head_dim"],
    "attention.value_length": "kv_lora_rank",
    "attention.key_length_mla": lambda config: config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
    "attention.value_length_mla": "v_head_dim",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "rope.scaling.yarn_log_multiplier": log_multiplier,
    **ROUTED_KEYS,
    "expert_gating_func": gating,
}


class DeepSeek2(Architecture):
    """DeepSeek V2 (https://arxiv.org/abs/2405.04434) and V3 (https://arxiv.org/abs/2412.19437).

    Multi-head latent attention (MLA): keys and values of all heads are projections of one latent vector; the KV cache
    has only that vector and one rotated key. The up-projections are absorbed into query and output, so that the latent
    vector is both key and value.
    """

    name = "deepseek2"
    checkpoint = Checkpoint(
        classes=("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "Glm4MoeLiteForCausalLM"),
        names=NAMES,
        keys=KEYS,
    )

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """YaRN: if the file has a factor for scores, cos and sin get none."""
        scaling = super().rope_scaling(md)
        has_multiplier = md.number("rope.scaling.yarn_log_multiplier", 0.0) != 0
        return replace(scaling, yarn_attn_factor=1.0) if has_multiplier and scaling.kind == "yarn" else scaling

    def hparams(self, md: ArchMetadata) -> DeepSeek2HParams:
        """The hyperparameters; head sizes are those of uncompressed keys and values."""
        hp = super().hparams(md)
        head_dim = md.positive("attention.key_length_mla", hp.head_dim)
        # Early files of GLM-4.7-Flash lack the gating of experts; llama.cpp recognizes them by these numbers.
        glm_flash = hp.n_layer in (47, 48) and hp.n_vocab == 154880
        return DeepSeek2HParams(
            **vars(routed_hparams(hp, md, "sigmoid" if glm_flash else "softmax")), n_nope=head_dim - hp.rope_dims,
            n_value=md.positive("attention.value_length_mla", hp.head_dim_v),
            n_q_latent=md.integer("attention.q_lora_rank", 0), n_latent=md.positive("attention.kv_lora_rank"),
            fused_kv=not md.integer("attention.key_length_mla", 0),
            qk_scale=self.qk_scale(md, hp.rope_scaling, head_dim),
            temperature=md.between("attention.temperature_scale", 0.0, 1e3, 0.0),
            scale_period=md.positive("attention.temperature_length", hp.rope_scaling.n_ctx_orig),
        )  # fmt: skip

    def qk_scale(self, md: ArchMetadata, scaling: RopeScaling, head_dim: int) -> float:
        """1 / sqrt(head_dim), times the square of YaRN's factor, as in llama.cpp."""
        if scaling.kind != "yarn":
            return 1.0 / math.sqrt(head_dim)
        stretch = math.log(max(scaling.factor, 1.0))
        own = 1.0 + 0.1 * stretch if scaling.yarn_attn_factor is None else scaling.yarn_attn_factor
        multiplier = 1.0 + md.number("rope.scaling.yarn_log_multiplier", 0.0) * stretch
        factor: float = scaling.attn_factor * own * multiplier
        return factor * factor / math.sqrt(head_dim)

    def tensors(self, hp: DeepSeek2HParams) -> WeightTable:
        """Multi-head latent attention; dense feed-forwards, then experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **mla_tensors(hp),
            **routed_tensors(hp),
        }

    def attention(self, g: Graph, h: Value, blk: Any, hp: DeepSeek2HParams, layer: int, q_scale: Value | None) -> Value:
        """Multi-head latent attention with rotary embedding."""
        rope = {"style": "norm", "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling}
        return g.linear(g.flatten(mla(g, h, blk, hp, layer, rope, q_scale)), blk.attn_output)

    def build(self, g: Graph, w: Weights, hp: DeepSeek2HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        q_scale = g.position_scale(factor=hp.temperature, period=hp.scale_period) if hp.temperature else None
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, q_scale)
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Mistral4(DeepSeek2):
    """Mistral Small 4 (https://huggingface.co/mistralai/Mistral-Small-4-119B-2603): softmax routing."""

    name = "mistral4"
    checkpoint = Checkpoint(
        classes=("Mistral4ForCausalLM",),
        names={
            **NAMES,
            "blk.{i}.ffn_gate_up_exps": "layers.{i}.mlp.experts.gate_up_proj",
            "blk.{i}.ffn_down_exps": "layers.{i}.mlp.experts.down_proj",
        },
        keys={
            **KEYS,
            "attention.temperature_scale": lambda config: rope_parameters(config).get("llama_4_scaling_beta"),
        },
    )


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [DeepSeek, DeepSeek2, Mistral4]
