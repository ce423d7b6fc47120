"""Z.ai's GLM family: chatglm (GLM-4 of 2024), glm4 (GLM-4-0414) and glm4moe (GLM-4.5 to 4.7, Solar Open)."""

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
    mrope_axes,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    qkv,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Config
from realizar.arch.drafts import draft, draft_tensors
from realizar.arch.experts import RoutedHParams, routed_expert_tensors, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import half_rope_dims, rope_dims


class ChatGLM(Architecture):
    """GLM-4-9B of 2024 (https://arxiv.org/abs/2406.12793): Llama with partial rotary embedding, fused gate and up."""

    name = "chatglm"
    checkpoint = Checkpoint(
        classes=("GlmForCausalLM",),
        names={"blk.{i}.ffn_up": "layers.{i}.mlp.gate_up_proj"},
        keys={"rope.dimension_count": half_rope_dims},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases on q, k, v; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm")
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Glm4(Architecture):
    """GLM-4-0414, 9B and 32B (https://huggingface.co/zai-org/GLM-4-32B-0414): pre- and post-norms.

    In files of models that also read pictures, q and k are permuted for rotary halves.
    """

    name = "glm4"
    checkpoint = Checkpoint(
        classes=("Glm4ForCausalLM",),
        names={
            "blk.{i}.ffn_up": "layers.{i}.mlp.gate_up_proj",
            "blk.{i}.post_attention_norm": "layers.{i}.post_self_attn_layernorm",
            "blk.{i}.post_ffw_norm": "layers.{i}.post_mlp_layernorm",
        },
        keys={"rope.dimension_count": half_rope_dims},
    )

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """M-RoPE with consecutive sections for the axes, if the file has sections."""
        return mrope_axes(md)

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases on q, k, v in some models; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None),
            **norm_tensors(hp.n_embd, "post_attention_norm", "ffn_norm", "post_ffw_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += norm(attention(norm(x))); x += norm(ffn(norm(x)))."""
        style = "norm" if hp.rope_axes is None else "neox"
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            a = gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, style)
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
            f = swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
            x = x + g.rms_norm(f, blk.post_ffw_norm, eps=hp.norm_eps)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def moe_rope_dims(config: Config) -> int:
    """Rotated dimensions of a head: by default half of it, in Solar Open all."""
    return (rope_dims if "SolarOpenForCausalLM" in config["architectures"] else half_rope_dims)(config)


class Glm4Moe(Architecture):
    """GLM-4.5 to 4.7 (https://arxiv.org/abs/2508.06471) and Solar Open: experts chosen by sigmoids with a bias.

    The largest models normalize q and k head by head.
    """

    name = "glm4moe"
    checkpoint = Checkpoint(
        classes=("Glm4MoeForCausalLM", "SolarOpenForCausalLM"),
        names={**ROUTED_NAMES, "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm"},
        keys={**ROUTED_KEYS, "rope.dimension_count": moe_rope_dims, "expert_gating_func": lambda config: 2},
    )

    def rope_axes(self, md: ArchMetadata) -> tuple[int, ...] | None:
        """M-RoPE with consecutive sections for the axes, if the file has sections."""
        return mrope_axes(md)

    def hparams(self, md: ArchMetadata) -> RoutedHParams:
        """The hyperparameters of this model."""
        return routed_hparams(super().hparams(md), md, "sigmoid")

    def tensors(self, hp: RoutedHParams) -> WeightTable:
        """Biases on q, k, v and norms of q and k in some models; dense layers, then experts."""
        norm = Weight((hp.head_dim,), optional=True)
        attention = {
            **gqa_tensors(hp, bias=None),
            "blk.{i}.attn_q_norm": norm,
            "blk.{i}.attn_k_norm": norm,
            **norm_tensors(hp.n_embd, "post_attention_norm"),
        }
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **attention,
            **routed_tensors(hp),
            **draft_tensors(hp, attention, routed_expert_tensors(hp)),
        }

    def attention(self, g: Graph, h: Value, blk: Any, hp: RoutedHParams, layer: int) -> Value:
        """Grouped-query attention, with q and k normalized if the model does so."""
        q, k, v = qkv(g, h, blk, hp)
        if blk.attn_q_norm is not None:
            q = g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps)
        if blk.attn_k_norm is not None:
            k = g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        q, k = rotate(g, hp, "neox", q, k)
        return g.linear(g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5), blk.attn_output)

    def layer(self, g: Graph, x: Value, blk: Any, hp: RoutedHParams, i: int) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
        return x + routed_ffn(g, g.rms_norm(x, blk.post_attention_norm, eps=hp.norm_eps), blk, hp, i)

    def build(self, g: Graph, w: Weights, hp: RoutedHParams) -> Value:
        """All layers, then the norm and the output matrix."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def draft(self, g: Graph, w: Weights, hp: RoutedHParams) -> Mapping[str, Value] | None:
        """The draft block, which has experts."""
        return draft(g, w, hp, self.layer)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [ChatGLM, Glm4, Glm4Moe]
