"""The Arcee family: arcee (AFM 4.5B) and afmoe (Trinity)."""

from collections.abc import Sequence
from functools import partial
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
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    normed_gqa_tensors,
    normed_qkv,
    relu2,
    rope_factors,
    rope_tensors,
    rotate,
)
from realizar.arch.checkpoint import PERMUTED, ROUTED_KEYS, ROUTED_NAMES, number, windows
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import whole_head


class Arcee(Architecture):
    """AFM 4.5B (https://huggingface.co/arcee-ai/AFM-4.5B): Llama with squared relu in place of SwiGLU."""

    name = "arcee"
    checkpoint = Checkpoint(
        ("ArceeForCausalLM",), PERMUTED, {"rope.dimension_count": whole_head}, only={"hidden_act": ("relu2",)}
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm", rope_factors(w, hp))
            x = x + mlp(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, partial(relu2, g))
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class AfmoeHParams(RoutedHParams):
    """The hyperparameters of experts, with the sliding-window layers."""

    windows: Windows


class Afmoe(Architecture):
    """Trinity (https://arxiv.org/abs/2602.17004): attention with a sigmoid gate, norms before and after, experts.

    Three layers of four have sliding-window attention, and the others no positions. The embedding is scaled by
    sqrt(n_embd). Behind the dense layers, experts are chosen by sigmoids with a bias, beside a shared one.
    """

    name = "afmoe"
    checkpoint = Checkpoint(
        classes=("AfmoeForCausalLM",),
        names={
            **ROUTED_NAMES,
            "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm",
            "blk.{i}.attn_gate": "layers.{i}.self_attn.gate_proj",
            "blk.{i}.ffn_norm": "layers.{i}.pre_mlp_layernorm",
            "blk.{i}.post_ffw_norm": "layers.{i}.post_mlp_layernorm",
            "blk.{i}.ffn_gate_inp": "layers.{i}.mlp.router.gate",
            "blk.{i}.exp_probs_b": "layers.{i}.mlp.expert_bias",
        },
        keys={
            **ROUTED_KEYS,
            "rope.dimension_count": whole_head,
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": windows,
            "leading_dense_block_count": "num_dense_layers",
            "expert_shared_count": "num_shared_experts",
            "expert_gating_func": lambda config: 2,
            "expert_weights_scale": number("route_scale"),
            "expert_weights_norm": lambda config: bool(config.get("route_norm", True)),
        },
        only={"mup_enabled": (True,)},
    )

    def window(self, md: ArchMetadata) -> int:
        """Sliding-window size, which every model has: its layers are those with positions."""
        return min(md.positive("attention.sliding_window"), 2**31 - 1)

    def hparams(self, md: ArchMetadata) -> AfmoeHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return AfmoeHParams(**vars(hp), windows=self.windows(md, 4))

    def tensors(self, hp: AfmoeHParams) -> WeightTable:
        """Separate q, k, v with norms over a head, and their gate; dense feed-forwards, then experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **normed_gqa_tensors(hp),
            "blk.{i}.attn_gate": Weight((hp.n_head * hp.head_dim, hp.n_embd)),
            **norm_tensors(hp.n_embd, "post_attention_norm", "ffn_norm", "post_ffw_norm"),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: AfmoeHParams) -> Value:
        """x += norm(attention(norm(x))); x += norm(ffn(norm(x)))."""
        x = g.embed(w.token_embd) * hp.n_embd**0.5
        for i, blk in enumerate(w.blk):
            a = self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
            f = routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
            x = x + g.rms_norm(f, blk.post_ffw_norm, eps=hp.norm_eps)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: AfmoeHParams, layer: int) -> Value:
        """Attention, multiplied by the sigmoid of a projection of h."""
        q, k, v = normed_qkv(g, h, blk, hp)
        window = hp.windows[layer]
        if window:
            q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=window)
        return g.linear(a * g.sigmoid(g.linear(h, blk.attn_gate)), blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Arcee, Afmoe]
