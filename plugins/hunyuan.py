"""Tencent's Hunyuan family: hunyuan-dense, hunyuan-moe and hy_v3."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from realizar.arch.blocks import (
    embedding_tensors,
    norm_tensors,
    normed_gqa,
    normed_gqa_tensors,
    qkv,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Config, Keys, Names, leading_dense, number
from realizar.arch.drafts import draft, draft_tensors
from realizar.arch.experts import (
    RoutedHParams,
    by_router,
    routed_expert_tensors,
    routed_experts,
    routed_ffn,
    routed_hparams,
    routed_tensors,
)
from realizar.arch.rope_checkpoint import rope_parameters

NAMES: Names = {
    "blk.{i}.attn_q_norm": "layers.{i}.self_attn.query_layernorm",
    "blk.{i}.attn_k_norm": "layers.{i}.self_attn.key_layernorm",
}
SHARED: Names = {
    "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_mlp.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_mlp.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_mlp.down_proj",
}
LONG_CONTEXT = 256 * 1024  # of models with alpha, whose config.json has the context before it


def alpha(config: Config) -> float | None:
    """The factor that stretches the rotary base to long contexts ("dynamic" scaling with an alpha)."""
    rope = rope_parameters(config)
    return float(rope.get("alpha") or 0) or None if rope["rope_type"] in ("dynamic", "xdrope") else None


def stretched(base: float, factor: float, dims: int) -> float:
    """The rotary base for NTK-aware scaling by alpha: base * alpha^(dims / (dims - 2))."""
    return float(base * factor ** (dims / (dims - 2)))


def rope_base(config: Config) -> float:
    """The rotary base, stretched if the checkpoint has an alpha."""
    base = float(rope_parameters(config).get("rope_theta", 10000.0))
    dims = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return stretched(base, alpha(config) or 1.0, dims)


def first(*names: str) -> Any:
    """A function of config.json: the value of the first of these keys that it has, which may be a list of equal ones.

    The function raises a ValueError if they differ.
    """

    def value(config: Config) -> Any:
        name = next((name for name in names if config.get(name) is not None), None)
        found = config[name] if name else None
        if isinstance(found, list) and any(one != found[0] for one in found):
            raise ValueError(f"{name} is {found}: all layers must have the same number")
        return found[0] if isinstance(found, list) else found

    return value


KEYS: Keys = {
    "context_length": lambda config: LONG_CONTEXT if alpha(config) else config["max_position_embeddings"],
    "rope.freq_base": rope_base,
    "expert_count": None,
    "expert_used_count": None,
}


class Hunyuan(Architecture):
    """Hunyuan 0.5B to 7B (https://github.com/Tencent-Hunyuan/Hunyuan-7B): q and k normalized after their rotation."""

    name = "hunyuan-dense"
    checkpoint = Checkpoint(("HunYuanDenseV1ForCausalLM",), NAMES, KEYS)

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        factor = md.between("rope.scaling.alpha", 0.0, 1e9, 0.0)
        return replace(hp, rope_base=stretched(hp.rope_base, factor, hp.head_dim)) if factor else hp

    def tensors(self, hp: Any) -> WeightTable:
        """Separate q, k, v with norms over a head; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **self.feed_forward_tensors(hp),
        }

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """SwiGLU."""
        return swiglu_tensors(hp.n_embd, hp.n_ff)

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """All layers, then the norm and the output matrix."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def layer(self, g: Graph, x: Value, blk: Any, hp: Any, i: int) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)

    def attention(self, g: Graph, h: Value, blk: Any, hp: HParams, layer: int) -> Value:
        """Attention with q and k rotated, then normalized head by head."""
        q, k, v = qkv(g, h, blk, hp)
        q, k = rotate(g, hp, "neox", q, k)
        q, k = g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps), g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        return g.linear(g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5), blk.attn_output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """SwiGLU."""
        return swiglu_ffn(g, h, blk)


class HunyuanMoe(Hunyuan):
    """Hunyuan A13B (https://github.com/Tencent-Hunyuan/Hunyuan-A13B): experts chosen by a softmax, and a shared one."""

    name = "hunyuan-moe"
    checkpoint = Checkpoint(
        classes=("HunYuanMoEV1ForCausalLM",),
        names={**NAMES, **SHARED, "blk.{i}.ffn_gate_inp": "layers.{i}.mlp.gate.wg"},
        keys={
            **KEYS,
            "expert_count": first("num_experts"),
            "expert_used_count": first("moe_topk"),
            "expert_feed_forward_length": first("moe_intermediate_size", "intermediate_size"),
            "expert_shared_feed_forward_length": "intermediate_size",
        },
    )

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "softmax", normalize=True)

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """Experts."""
        return routed_tensors(hp)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """Experts."""
        return routed_ffn(g, h, blk, hp, layer)


class HyV3(Hunyuan):
    """Hy3 (https://huggingface.co/tencent/Hy3-preview): q and k normalized before their rotation.

    Behind a dense layer, experts are chosen by sigmoids with a bias, beside a shared one.
    """

    name = "hy_v3"
    checkpoint = Checkpoint(
        classes=("HYV3ForCausalLM",),
        names={
            **SHARED,
            "blk.{i}.ffn_gate_inp": "layers.{i}.mlp.router.gate",
            "blk.{i}.exp_probs_b": "layers.{i}.mlp.expert_bias",
        },
        keys={
            "leading_dense_block_count": leading_dense("first_k_dense_replace"),
            "expert_feed_forward_length": "moe_intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "expert_gating_func": lambda config: 2,
            "expert_weights_norm": lambda config: bool(config.get("route_norm", True)),
            "expert_weights_scale": number("router_scaling_factor"),
        },
    )

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "sigmoid")

    def tensors(self, hp: Any) -> WeightTable:
        """As Hunyuan, and the draft block, which is such a layer."""
        norms = norm_tensors(hp.n_embd, "ffn_norm")
        layer = (normed_gqa_tensors(hp), norms, self.feed_forward_tensors(hp))
        return {**super().tensors(hp), **draft_tensors(hp, *layer)}

    def draft(self, g: Graph, w: Weights, hp: Any) -> Mapping[str, Value] | None:
        """The draft block."""
        return draft(g, w, hp, self.layer)

    def feed_forward_tensors(self, hp: Any) -> WeightTable:
        """A dense feed-forward or experts: files do not say which layer has what."""
        choice = Weight((hp.n_expert,), suffix="", optional=True)
        return by_router(
            swiglu_tensors(hp.n_embd, hp.n_ff), {**routed_expert_tensors(hp), "blk.{i}.exp_probs_b": choice}
        )

    def attention(self, g: Graph, h: Value, blk: Any, hp: HParams, layer: int) -> Value:
        """Attention with q and k normalized head by head, then rotated."""
        return normed_gqa(g, h, blk, hp, layer, "neox")

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Any, layer: int) -> Value:
        """A dense feed-forward or experts."""
        return swiglu_ffn(g, h, blk) if blk.ffn_gate_inp is None else routed_experts(g, h, blk, hp)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Hunyuan, HunyuanMoe, HyV3]
