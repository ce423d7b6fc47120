"""The DeepSeek family under the GGUF name "deepseek2": DeepSeek V2, V2-Lite, V2.5 and V3."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, norm_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import Array, Config, rope_parameters
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors
from realizar.arch.mla import mla, mla_tensors


@dataclass(frozen=True)
class DeepSeek2HParams(ExpertHParams):
    """The hyperparameters of a mixture of experts, and:

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
    n_dense, n_shared : int
        Number of leading layers without experts; number of shared experts.
    routing : dict
        How experts are chosen: arguments of `Graph.route`.
    """

    n_nope: int
    n_value: int
    n_q_latent: int
    n_latent: int
    fused_kv: bool
    qk_scale: float
    n_dense: int
    n_shared: int
    routing: dict[str, Any]


def expanding(x: Array, hp: DeepSeek2HParams) -> Array:
    """The up-projection of the latent, per head: rows of the key, then rows of the value."""
    return x.reshape(hp.n_head, hp.n_nope + hp.n_value, -1)


def key_expanding(x: Array, hp: DeepSeek2HParams) -> Array:
    """The up-projection of keys, transposed as `to_latent` takes it."""
    return expanding(x, hp)[:, : hp.n_nope].swapaxes(1, 2)


def value_expanding(x: Array, hp: DeepSeek2HParams) -> Array:
    """The up-projection of values."""
    return expanding(x, hp)[:, hp.n_nope :]


def gating(config: Config) -> int:
    """llama.cpp's number for softmax or sigmoid gating; config.json of V3 does not always have it."""
    v3 = "V3" in "".join(config.get("architectures", ()))
    return 2 if config.get("scoring_func", "sigmoid" if v3 else "softmax") == "sigmoid" else 1


def log_multiplier(config: Config) -> float | None:
    """YaRN's factor for scores, a tenth of that in config.json, as llama.cpp's converter writes it."""
    found = rope_parameters(config).get("mscale_all_dim")
    return None if found is None else 0.1 * float(found)


class DeepSeek2(Architecture):
    """DeepSeek V2 (https://arxiv.org/abs/2405.04434) and V3 (https://arxiv.org/abs/2412.19437).

    Multi-head latent attention: keys and values of all heads are projections of one latent vector, and the KV cache
    holds only that and one rotated key. The up-projections are absorbed into query and output, so that a latent is key
    and value at once.
    """

    name = "deepseek2"
    checkpoint = Checkpoint(
        classes=("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
        names={
            "blk.{i}.attn_q_a": "layers.{i}.self_attn.q_a_proj",
            "blk.{i}.attn_q_a_norm": "layers.{i}.self_attn.q_a_layernorm",
            "blk.{i}.attn_q_b": "layers.{i}.self_attn.q_b_proj",
            "blk.{i}.attn_kv_a_mqa": "layers.{i}.self_attn.kv_a_proj_with_mqa",
            "blk.{i}.attn_kv_a_norm": "layers.{i}.self_attn.kv_a_layernorm",
            "blk.{i}.attn_k_b": ("layers.{i}.self_attn.kv_b_proj", key_expanding),
            "blk.{i}.attn_v_b": ("layers.{i}.self_attn.kv_b_proj", value_expanding),
            "blk.{i}.exp_probs_b": "layers.{i}.mlp.gate.e_score_correction_bias",
            "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_experts.gate_proj",
            "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_experts.up_proj",
            "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_experts.down_proj",
        },
        keys={
            "attention.head_count_kv": lambda config: 1,  # the latent, which all heads share
            "attention.key_length": lambda config: config["kv_lora_rank"] + config["qk_rope_head_dim"],
            "attention.value_length": "kv_lora_rank",
            "attention.key_length_mla": lambda config: config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
            "attention.value_length_mla": "v_head_dim",
            "attention.q_lora_rank": "q_lora_rank",
            "attention.kv_lora_rank": "kv_lora_rank",
            "rope.dimension_count": "qk_rope_head_dim",
            "rope.scaling.yarn_log_multiplier": log_multiplier,
            "leading_dense_block_count": "first_k_dense_replace",
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "n_shared_experts",
            "expert_gating_func": gating,
            "expert_group_count": "n_group",
            "expert_group_used_count": "topk_group",
            "expert_weights_scale": lambda config: float(config.get("routed_scaling_factor") or 1.0),
            "expert_weights_norm": lambda config: bool(config.get("norm_topk_prob")),
        },
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
        return DeepSeek2HParams(
            **vars(expert_hparams(hp, md)), n_nope=head_dim - hp.rope_dims,
            n_value=md.positive("attention.value_length_mla", hp.head_dim_v),
            n_q_latent=md.integer("attention.q_lora_rank", 0), n_latent=md.positive("attention.kv_lora_rank"),
            fused_kv=not md.integer("attention.key_length_mla", 0),
            qk_scale=self.qk_scale(md, hp.rope_scaling, head_dim), routing=self.routing(md),
            n_dense=md.integer("leading_dense_block_count", 0), n_shared=md.integer("expert_shared_count", 0),
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

    def routing(self, md: ArchMetadata) -> dict[str, Any]:
        """V2 chooses groups by their best expert; V3, with sigmoid gating and biases, by their best two."""
        sigmoid = md.integer("expert_gating_func", 1) == 2
        return {
            "gating": "sigmoid" if sigmoid else "softmax",
            "normalize": md.boolean("expert_weights_norm", False),
            "n_group": md.positive("expert_group_count", 1),
            "n_group_used": md.positive("expert_group_used_count", 1),
            "n_group_best": 2 if sigmoid else 1,
        }

    def tensors(self, hp: DeepSeek2HParams) -> WeightTable:
        """Multi-head latent attention; dense feed-forwards, then experts."""
        dense, experts = swiglu_tensors(hp.n_embd, hp.n_ff), self.expert_tensors(hp)
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **mla_tensors(hp),
        }
        for i in range(hp.n_layer):
            layer = dense if i < hp.n_dense else experts
            table.update({name.replace("{i}", str(i)): weight for name, weight in layer.items()})
        return table

    def expert_tensors(self, hp: DeepSeek2HParams) -> WeightTable:
        """Experts, the bias for choosing them (V3), and the shared experts as one feed-forward."""
        n_shared = hp.n_shared * hp.n_ff_expert
        table = {**expert_tensors(hp), "blk.{i}.exp_probs_b": Weight((hp.n_expert,), suffix=".bias", optional=True)}
        if not n_shared:
            return table
        up, down = Weight((n_shared, hp.n_embd)), Weight((hp.n_embd, n_shared))
        return {**table, "blk.{i}.ffn_gate_shexp": up, "blk.{i}.ffn_up_shexp": up, "blk.{i}.ffn_down_shexp": down}

    def attention(self, g: Graph, h: Value, blk: Any, hp: DeepSeek2HParams, layer: int) -> Value:
        """Multi-head latent attention with rotary embedding."""
        rope = {"style": "norm", "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling}
        return g.linear(g.flatten(mla(g, h, blk, hp, layer, rope)), blk.attn_output)

    def experts(self, g: Graph, h: Value, blk: Any, hp: DeepSeek2HParams) -> Value:
        """The sum of the chosen and the shared experts."""
        y = expert_ffn(g, h, blk, hp, bias=blk.exp_probs_b, **hp.routing)
        if not hp.n_shared:
            return y
        gate, up = g.linear(h, blk.ffn_gate_shexp), g.linear(h, blk.ffn_up_shexp)
        return y + g.linear(g.silu(gate) * up, blk.ffn_down_shexp)

    def build(self, g: Graph, w: Weights, hp: DeepSeek2HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            x = x + (swiglu_ffn(g, h, blk) if i < hp.n_dense else self.experts(g, h, blk, hp))
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [DeepSeek2]
