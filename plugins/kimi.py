"""Kimi Delta Attention: kimi-linear (Kimi Linear) and bailingmoe3 (Ling 3.0)."""

from collections.abc import Sequence
from typing import Any, ClassVar

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
    mrope_axes,
)
from realizar.arch.blocks import L2_EPS, embedding_tensors, l2_norm, layer_tensors, norm_tensors
from realizar.arch.checkpoint import MIXTRAL_EXPERTS, Config, Keys, Names, leading_dense, negative_exp
from realizar.arch.experts import (
    RoutedHParams,
    limited_ffn,
    routed_experts,
    routed_ffn,
    routed_hparams,
    routed_tensors,
)
from realizar.arch.mla import MLA_KEYS, MLA_NAMES, mla, mla_tensors

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


KEYS: Keys = {
    "context_length": ("model_max_length", "max_position_embeddings"),
    "attention.head_count_kv": heads_kv,
    **MLA_KEYS,
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
    "leading_dense_block_count": leading_dense("first_k_dense_replace"),
}
"""Metadata keys from config.json."""


class KimiHParams(RoutedHParams):
    """The hyperparameters of a mixture of experts, of multi-head latent attention (`realizar.arch.mla`), and:

    Attributes
    ----------
    recurrent : tuple of bool
        Of each layer, whether it is recurrent; the others attend.
    n_tap : int
        Width of the convolutions in tokens.
    head_dim_delta : int
        Dimensions of a head of a recurrent layer.
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


class KimiLinear(Architecture):
    """Kimi Linear (https://arxiv.org/abs/2510.26692): three layers of Kimi Delta Attention to one of latent attention.

    Kimi Delta Attention is a gated delta rule whose state decays channel by channel. Attention has no positions. The
    first layers are dense; experts are chosen with a bias, beside shared ones.
    """

    name = "kimi-linear"
    tied = False
    checkpoint: ClassVar[Checkpoint | None] = Checkpoint(
        classes=("KimiLinearForCausalLM", "KimiLinearModel"),
        names=NAMES,
        keys=KEYS,
        only={
            "hidden_act": ("silu",), "mla_use_nope": (True,), "moe_renormalize": (True,), "norm_topk_prob": (True,),
            "moe_layer_freq": (1,), "attention_bias": (False,), "rope_scaling": (None,),
            "moe_router_activation_func": ("sigmoid", "softmax"),
        },
        tied=lambda config: False,  # transformers does not tie them whatever config.json says
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
            rope_axes=self.rope_axes(md),
        )  # fmt: skip
        return KimiHParams(
            **vars(routed_hparams(hp, md, "sigmoid", normalize=True)), n_nope=head_dim - rope_dims, n_value=n_value,
            n_q_latent=md.integer("attention.q_lora_rank", 0), n_latent=md.positive("attention.kv_lora_rank"),
            fused_kv=False, qk_scale=head_dim**-0.5,
            recurrent=tuple(n == 0 for n in md.per_layer("attention.head_count_kv")),
            n_tap=md.positive("ssm.conv_kernel"), head_dim_delta=md.positive("kda.head_dim"),
        )  # fmt: skip

    def tensors(self, hp: KimiHParams) -> WeightTable:
        """Kimi Delta Attention or latent attention; dense feed-forwards, then experts."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=self.tied),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **routed_tensors(hp),
        }
        for i, recurrent in enumerate(hp.recurrent):
            mixer = self.delta_tensors(hp) if recurrent else self.attention_tensors(hp)
            table.update(layer_tensors(i, mixer))
        return table

    def attention_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of latent attention."""
        return mla_tensors(hp)

    def delta_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of Kimi Delta Attention."""
        n = hp.n_head * hp.head_dim_delta
        parts = {"attn_q": n, "attn_k": n, "attn_v": n}
        return {
            "blk.{i}.attn_qkv": Weight((3 * n, hp.n_embd), parts=parts),
            **{f"blk.{{i}}.ssm_conv1d_{part}": Weight((n, hp.n_tap)) for part in "qkv"},
            **self.gate_tensors(hp),
            "blk.{i}.ssm_dt": Weight((n,), suffix=".bias"),
            "blk.{i}.ssm_beta": Weight((hp.n_head, hp.n_embd)),
            "blk.{i}.ssm_norm": Weight((hp.head_dim_delta,)),
            "blk.{i}.attn_output": Weight((hp.n_embd, n)),
        }

    def gate_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of the decay ("f") and of the gate of the result ("g"): each a product of two of low rank."""
        n = hp.n_head * hp.head_dim_delta
        down, up = Weight((hp.head_dim_delta, hp.n_embd)), Weight((n, hp.head_dim_delta))
        return {
            "blk.{i}.ssm_f_a": down,
            "blk.{i}.ssm_f_b": up,
            "blk.{i}.ssm_g_a": down,
            "blk.{i}.ssm_g_b": up,
            "blk.{i}.ssm_a": Weight((hp.n_head, 1), suffix="", negative=True),
        }

    def delta(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """Kimi Delta Attention: convolutions over q, k and v, a delta rule, and a norm with a gate for its result."""
        heads = {}
        for part in "qkv":
            conv = g.state(layer, (hp.n_tap - 1, hp.n_head * hp.head_dim_delta), f"conv_{part}")
            x = g.linear(h, getattr(blk, f"attn_{part}"))
            x = g.silu(g.causal_conv1d(x, getattr(blk, f"ssm_conv1d_{part}"), conv))
            heads[part] = g.heads(x, hp.n_head)
        q = l2_norm(g, heads["q"], L2_EPS, hp.head_dim_delta**-0.5)
        k = l2_norm(g, heads["k"], L2_EPS)
        decay, gate = self.gates(g, h, blk, hp)
        beta = g.sigmoid(g.linear(h, blk.ssm_beta))
        state = g.state(layer, (hp.n_head, hp.head_dim_delta, hp.head_dim_delta), "delta")
        y = g.rms_norm(g.delta_rule(q, k, heads["v"], decay, beta, state=state), blk.ssm_norm, eps=hp.norm_eps)
        return g.linear(g.flatten(y) * g.sigmoid(gate), blk.attn_output)

    def gates(self, g: Graph, h: Value, blk: Any, hp: KimiHParams) -> tuple[Value, Value]:
        """The decay of each channel of the state, and the gate of the result before its sigmoid."""
        decay = g.decay(g.linear(g.linear(h, blk.ssm_f_a), blk.ssm_f_b), a=blk.ssm_a, bias=blk.ssm_dt)
        return decay, g.linear(g.linear(h, blk.ssm_g_a), blk.ssm_g_b)

    def attention(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """Multi-head latent attention without positions."""
        return g.linear(g.flatten(mla(g, h, blk, hp, layer, None)), blk.attn_output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """A dense feed-forward, or the sum of the chosen and the shared experts."""
        return routed_ffn(g, h, blk, hp, layer)

    def build(self, g: Graph, w: Weights, hp: KimiHParams) -> Value:
        """x += delta(norm(x)) or attention(norm(x)); x += feed_forward(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            mix = self.delta if hp.recurrent[i] else self.attention
            x = x + mix(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Ling3HParams(KimiHParams):
    """The hyperparameters of Ling 3.0.

    Attributes
    ----------
    bound : float
        The smallest logarithm of a decay, negative.
    expert_limits, limits : tuple[float, ...]
        Limits of SwiGLU's two factors, for each layer: of its experts, and of its shared expert or dense feed-forward.
        0 for none.
    """

    bound: float
    expert_limits: tuple[float, ...]
    limits: tuple[float, ...]


class BailingMoe3(KimiLinear):
    """Ling 3.0 (https://huggingface.co/inclusionAI/Ling-3.0-flash): Kimi Linear with rotary positions and more gates.

    The decay of the state has a lower bound. In latent attention, the result of each head is multiplied by the sigmoid
    of a gate. Some layers limit SwiGLU. As llama.cpp's bailingmoe3; in models that also read pictures, positions have
    three axes and the rotated pairs are halves.
    """

    name = "bailingmoe3"
    tied = True
    checkpoint = None

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """M-RoPE with consecutive sections for the axes, if the file has sections."""
        return mrope_axes(md)

    def hparams(self, md: ArchMetadata) -> Ling3HParams:
        """The hyperparameters of this model; only decays with a bound are supported."""
        md.choice("kda.safe_gate", {True: None}, True)
        return Ling3HParams(
            **vars(super().hparams(md)),
            bound=md.between("kda.gate_lower_bound", -1e3, -1e-3),
            expert_limits=md.numbers("swiglu_clamp_exp", 0.0),
            limits=md.numbers("swiglu_clamp_shexp", 0.0),
        )

    def attention_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of latent attention and of its gate."""
        return {**mla_tensors(hp), "blk.{i}.attn_gate": Weight((hp.n_head, hp.n_embd))}

    def gate_tensors(self, hp: KimiHParams) -> WeightTable:
        """The tensors of the decay ("f") and of the gate of the result ("g"), one each; a is positive."""
        rows = Weight((hp.n_head * hp.head_dim_delta, hp.n_embd))
        return {
            "blk.{i}.ssm_f_a": rows,
            "blk.{i}.ssm_g_a": rows,
            "blk.{i}.ssm_a": Weight((hp.n_head, 1), suffix=""),
        }

    def gates(self, g: Graph, h: Value, blk: Any, hp: Any) -> tuple[Value, Value]:
        """The decay of each channel of the state, and the gate of the result before its sigmoid."""
        decay = g.decay(g.linear(h, blk.ssm_f_a), a=blk.ssm_a, bias=blk.ssm_dt, bound=hp.bound)
        return decay, g.linear(h, blk.ssm_g_a)

    def attention(self, g: Graph, h: Value, blk: Any, hp: KimiHParams, layer: int) -> Value:
        """Multi-head latent attention, whose result is gated head by head."""
        style = "norm" if hp.rope_axes is None else "neox"
        rope = {"style": style, "dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling}
        a = mla(g, h, blk, hp, layer, {**rope, "axes": hp.rope_axes})
        return g.linear(g.flatten(a * g.sigmoid(g.linear(h, blk.attn_gate))), blk.attn_output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """A dense feed-forward, or the sum of the chosen and the shared experts."""
        if hp.is_dense(layer):
            return limited_ffn(g, h, blk.ffn_gate, blk.ffn_up, blk.ffn_down, hp.limits[layer])
        return routed_experts(g, h, blk, hp, hp.expert_limits[layer], hp.limits[layer])


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [KimiLinear, BailingMoe3]
