"""Kimi Delta Attention: kimi-linear (Kimi Linear)."""

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, l2_norm, norm_tensors, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import MIXTRAL_EXPERTS, Config, Keys, Names, negative_exp
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors
from realizar.arch.mla import MLA_NAMES, mla, mla_tensors

NAMES: Names = {
    **MLA_NAMES,
    **MIXTRAL_EXPERTS,
    **{  # as published; as transformers 5 writes them
        f"blk.{{i}}.ffn_{part}": f"layers.{{i}}.mlp.{part}_proj|layers.{{i}}.block_sparse_moe.{part}_proj"
        for part in ("gate", "up", "down")
    },
    "blk.{i}.exp_probs_b": "layers.{i}.block_sparse_moe.gate.e_score_correction_bias",
    "blk.{i}.ffn_gate_shexp": "layers.{i}.block_sparse_moe.shared_experts.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.block_sparse_moe.shared_experts.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.block_sparse_moe.shared_experts.down_proj",
    **{f"blk.{{i}}.ssm_conv1d_{part}": f"layers.{{i}}.self_attn.{part}_conv1d" for part in "qkv"},
    "blk.{i}.ssm_f_a": "layers.{i}.self_attn.f_a_proj",
    "blk.{i}.ssm_f_b": "layers.{i}.self_attn.f_b_proj",
    "blk.{i}.ssm_g_a": "layers.{i}.self_attn.g_a_proj",
    "blk.{i}.ssm_g_b": "layers.{i}.self_attn.g_b_proj",
    "blk.{i}.ssm_dt": "layers.{i}.self_attn.dt_bias",
    "blk.{i}.ssm_a": ("layers.{i}.self_attn.A_log", negative_exp),
    "blk.{i}.ssm_beta": "layers.{i}.self_attn.b_proj",
    "blk.{i}.ssm_norm": "layers.{i}.self_attn.o_norm",
}
"""Names in checkpoints; facts of the transforms from llama.cpp's converter (conversion/kimi_linear.py)."""


def first(*names: str) -> Any:
    """The first of these keys that config.json, or its part for recurrent layers, has."""

    def value(config: Config) -> Any:
        found = {**config, **(config.get("linear_attn_config") or {})}
        return next((found[name] for name in names if found.get(name) is not None), None)

    return value


def heads_kv(config: Config) -> list[int]:
    """KV heads: one, the latent, in layers that attend, whose numbers begin at 1; 0 in recurrent ones."""
    n_layer = config["num_hidden_layers"]
    if config.get("layer_types"):
        return [int(kind == "full_attention") for kind in config["layer_types"]]
    attend = config["linear_attn_config"]["full_attn_layers"]
    return [int(i + 1 in attend) for i in range(n_layer)]


def n_dense(config: Config) -> int:
    """Leading layers without experts.

    Raises
    ------
    ValueError
        If one of the other layers has none either.
    """
    kinds = config.get("mlp_layer_types") or []
    n = kinds.index("sparse") if "sparse" in kinds else config["first_k_dense_replace"]
    if "dense" in kinds[n:]:
        raise ValueError(f"mlp_layer_types: {kinds}")
    return int(n)


KEYS: Keys = {
    "context_length": ("model_max_length", "max_position_embeddings"),
    "attention.head_count_kv": heads_kv,
    "attention.key_length": lambda config: config["kv_lora_rank"] + config["qk_rope_head_dim"],
    "attention.value_length": "kv_lora_rank",
    "attention.key_length_mla": lambda config: config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
    "attention.value_length_mla": "v_head_dim",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "ssm.conv_kernel": first("short_conv_kernel_size", "linear_conv_kernel_dim"),
    "kda.head_dim": lambda config: first("linear_head_dim")(config) or config["linear_attn_config"]["head_dim"],
    "expert_count": ("num_experts", "num_local_experts"),
    "expert_used_count": ("num_experts_per_token", "num_experts_per_tok"),
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": ("num_shared_experts", "n_shared_experts"),
    "expert_group_count": ("num_expert_group", "n_group"),
    "expert_group_used_count": "topk_group",
    "expert_weights_scale": lambda config: float(config.get("routed_scaling_factor") or 1.0),
    "expert_gating_func": lambda config: 2 if config.get("moe_router_activation_func", "sigmoid") == "sigmoid" else 1,
    "leading_dense_block_count": n_dense,
}
"""Metadata keys from config.json."""


class KimiHParams(ExpertHParams):
    """The hyperparameters of a mixture of experts, of multi-head latent attention (`realizar.arch.mla`), and:

    Attributes
    ----------
    recurrent : tuple of bool
        Of each layer, whether it is recurrent; the others attend.
    n_tap : int
        Width of the convolutions in tokens.
    head_dim_delta : int
        Dimensions of a head of a recurrent layer.
    n_dense : int
        Number of leading layers without experts.
    n_ff_shared : int
        Feed-forward width of the shared experts together.
    routing : dict
        How experts are chosen: arguments of `Graph.route`.
    """

    n_nope: int
    n_value: int
    n_q_latent: int
    n_latent: int
    fused_kv: bool
    qk_scale: float
    recurrent: tuple[bool, ...]
    n_tap: int
    head_dim_delta: int
    n_dense: int
    n_ff_shared: int
    routing: Mapping[str, Any]


class KimiLinear(Architecture):
    """Kimi Linear (https://arxiv.org/abs/2510.26692): three layers of Kimi Delta Attention to one of latent attention.

    Kimi Delta Attention is a gated delta rule whose state decays channel by channel. Attention has no positions. The
    first layers are dense; experts are chosen with a bias, beside shared ones.
    """

    name = "kimi-linear"
    checkpoint = Checkpoint(
        classes=("KimiLinearForCausalLM", "KimiLinearModel"),
        names=NAMES,
        keys=KEYS,
        only={
            "hidden_act": ("silu",), "mla_use_nope": (True,), "moe_renormalize": (True,), "norm_topk_prob": (True,),
            "moe_layer_freq": (1,), "attention_bias": (False,), "rope_scaling": (None,),
            "moe_router_activation_func": ("sigmoid", "softmax"),
        },
    )  # fmt: skip

    def hparams(self, md: ArchMetadata) -> KimiHParams:
        """The hyperparameters of this model; layers without KV heads are recurrent."""
        n_head, rope_dims = md.positive("attention.head_count"), md.positive("rope.dimension_count")
        head_dim, n_value = md.positive("attention.key_length_mla"), md.positive("attention.value_length_mla")
        hp = HParams(
            n_layer=md.layers(), n_embd=md.positive("embedding_length"), n_ff=md.positive("feed_forward_length"),
            n_vocab=md.n_vocab(), n_ctx_train=md.positive("context_length"), n_head=n_head, n_head_kv=1,
            head_dim=head_dim, head_dim_v=n_value, norm_eps=self.norm_eps(md), rope_dims=rope_dims,
            rope_base=md.between("rope.freq_base", 2.0, 1e30, 10000.0), rope_scaling=self.rope_scaling(md), window=0,
        )  # fmt: skip
        experts = expert_hparams(hp, md)
        return KimiHParams(
            **vars(experts), n_nope=head_dim - rope_dims, n_value=n_value,
            n_q_latent=md.integer("attention.q_lora_rank", 0), n_latent=md.positive("attention.kv_lora_rank"),
            fused_kv=False, qk_scale=head_dim**-0.5,
            recurrent=tuple(n == 0 for n in md.per_layer("attention.head_count_kv")),
            n_tap=md.positive("ssm.conv_kernel"), head_dim_delta=md.positive("kda.head_dim"),
            n_dense=md.integer("leading_dense_block_count", 0),
            n_ff_shared=md.integer("expert_shared_count", 1) * experts.n_ff_expert, routing=self.routing(md),
        )  # fmt: skip

    def routing(self, md: ArchMetadata) -> dict[str, Any]:
        """The weights of the chosen experts are normalized."""
        gating = "sigmoid" if md.integer("expert_gating_func", 2) == 2 else "softmax"
        groups = {"n_group": "expert_group_count", "n_group_used": "expert_group_used_count"}
        return {"gating": gating, "normalize": True, **{name: md.positive(key, 1) for name, key in groups.items()}}

    def tensors(self, hp: KimiHParams) -> WeightTable:
        """Kimi Delta Attention or latent attention; dense feed-forwards, then experts."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
        }
        for i, recurrent in enumerate(hp.recurrent):
            mixer = self.delta_tensors(hp) if recurrent else mla_tensors(hp)
            ffn = swiglu_tensors(hp.n_embd, hp.n_ff) if i < hp.n_dense else self.expert_tensors(hp)
            table.update({name.replace("{i}", str(i)): weight for name, weight in {**mixer, **ffn}.items()})
        return table

    def delta_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of Kimi Delta Attention."""
        n = hp.n_head * hp.head_dim_delta
        parts = {"attn_q": n, "attn_k": n, "attn_v": n}
        down, up = Weight((hp.head_dim_delta, hp.n_embd)), Weight((n, hp.head_dim_delta))
        return {
            "blk.{i}.attn_qkv": Weight((3 * n, hp.n_embd), parts=parts),
            **{f"blk.{{i}}.ssm_conv1d_{part}": Weight((n, hp.n_tap)) for part in "qkv"},
            "blk.{i}.ssm_f_a": down,
            "blk.{i}.ssm_f_b": up,
            "blk.{i}.ssm_g_a": down,
            "blk.{i}.ssm_g_b": up,
            "blk.{i}.ssm_dt": Weight((n,), suffix=".bias"),
            "blk.{i}.ssm_a": Weight((hp.n_head, 1), suffix="", negative=True),
            "blk.{i}.ssm_beta": Weight((hp.n_head, hp.n_embd)),
            "blk.{i}.ssm_norm": Weight((hp.head_dim_delta,)),
            "blk.{i}.attn_output": Weight((hp.n_embd, n)),
        }

    def expert_tensors(self, hp: KimiHParams) -> WeightTable:
        """Experts, the bias for choosing them, and the shared experts as one feed-forward."""
        up, down = Weight((hp.n_ff_shared, hp.n_embd)), Weight((hp.n_embd, hp.n_ff_shared))
        return {
            **expert_tensors(hp),
            "blk.{i}.exp_probs_b": Weight((hp.n_expert,), suffix=".bias"),
            "blk.{i}.ffn_gate_shexp": up,
            "blk.{i}.ffn_up_shexp": up,
            "blk.{i}.ffn_down_shexp": down,
        }

    def delta(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """Kimi Delta Attention: convolutions over q, k and v, a delta rule, and a norm with a gate for its result."""
        heads = {}
        for part in "qkv":
            conv = g.state(layer, (hp.n_tap - 1, hp.n_head * hp.head_dim_delta), f"conv_{part}")
            x = g.linear(h, getattr(blk, f"attn_{part}"))
            x = g.silu(g.causal_conv1d(x, getattr(blk, f"ssm_conv1d_{part}"), conv))
            heads[part] = g.heads(x, hp.n_head)
        q = l2_norm(g, heads["q"], hp.norm_eps, hp.head_dim_delta**-0.5)
        k = l2_norm(g, heads["k"], hp.norm_eps)
        decay = g.decay(g.linear(g.linear(h, blk.ssm_f_a), blk.ssm_f_b), a=blk.ssm_a, bias=blk.ssm_dt)
        beta = g.sigmoid(g.linear(h, blk.ssm_beta))
        state = g.state(layer, (hp.n_head, hp.head_dim_delta, hp.head_dim_delta), "delta")
        y = g.rms_norm(g.delta_rule(q, k, heads["v"], decay, beta, state=state), blk.ssm_norm, eps=hp.norm_eps)
        gate = g.sigmoid(g.linear(g.linear(h, blk.ssm_g_a), blk.ssm_g_b))
        return g.linear(g.flatten(y) * gate, blk.attn_output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """Multi-head latent attention without positions."""
        return g.linear(g.flatten(mla(g, h, blk, hp, layer, None)), blk.attn_output)

    def experts(self, g: Graph, h: Value, blk: Any, hp: KimiHParams) -> Value:
        """The sum of the chosen and the shared experts."""
        gated = g.silu(g.linear(h, blk.ffn_gate_shexp)) * g.linear(h, blk.ffn_up_shexp)
        return expert_ffn(g, h, blk, hp, bias=blk.exp_probs_b, **hp.routing) + g.linear(gated, blk.ffn_down_shexp)

    def build(self, g: Graph, w: Weights, hp: KimiHParams) -> Value:
        """x += delta(norm(x)) or attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            mix = self.delta if hp.recurrent[i] else self.attention
            x = x + mix(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            x = x + (swiglu_ffn(g, h, blk) if i < hp.n_dense else self.experts(g, h, blk, hp))
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [KimiLinear]
