"""LG AI Research's EXAONE family: exaone (3.0 and 3.5), exaone4 and exaone-moe (K-EXAONE)."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    Value,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    gqa_tensors,
    norm_tensors,
    normed_gqa_tensors,
    normed_qkv,
    normed_qkv_tensors,
    rope_factors,
    rope_tensors,
    rotate,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Keys, Names, leading_dense, number, windows
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import llama3_factors

NAMES: Names = {"rope_freqs": llama3_factors}
WINDOWS: Keys = {"attention.sliding_window": "sliding_window", "attention.sliding_window_pattern": windows}
PERIOD = 4  # of layers with full attention, in files without a pattern


class Exaone(Architecture):
    """EXAONE 3.0 and 3.5 (https://arxiv.org/abs/2408.03541): Llama with rotary halves ("neox")."""

    name = "exaone"
    checkpoint = Checkpoint(
        classes=("ExaoneForCausalLM",),
        names={
            **NAMES,
            "token_embd": "wte",
            "output_norm": "ln_f",
            "blk.{i}.attn_norm": "h.{i}.ln_1",
            "blk.{i}.attn_q": "h.{i}.attn.attention.q_proj",
            "blk.{i}.attn_k": "h.{i}.attn.attention.k_proj",
            "blk.{i}.attn_v": "h.{i}.attn.attention.v_proj",
            "blk.{i}.attn_output": "h.{i}.attn.attention.out_proj",
            "blk.{i}.ffn_norm": "h.{i}.ln_2",
            "blk.{i}.ffn_gate": "h.{i}.mlp.c_fc_0",
            "blk.{i}.ffn_up": "h.{i}.mlp.c_fc_1",
            "blk.{i}.ffn_down": "h.{i}.mlp.c_proj",
        },
        keys={"attention.layer_norm_rms_epsilon": number("rms_norm_eps", "layer_norm_epsilon")},
        only={"activation_function": ("silu",)},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox", rope_factors(w, hp))
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Exaone4HParams(HParams):
    """The hyperparameters of EXAONE 4: its sliding-window layers."""

    windows: Windows


class Exaone4(Architecture):
    """EXAONE 4.0 and 4.5 (https://arxiv.org/abs/2507.11407): norms after attention and feed-forward, and of q and k.

    In the 32B, three of four layers have sliding-window attention; the others have no positions.
    """

    name = "exaone4"
    checkpoint = Checkpoint(
        classes=("Exaone4ForCausalLM", "Exaone4_5_ForConditionalGeneration"),
        names={
            **NAMES,
            "blk.{i}.post_attention_norm": "layers.{i}.post_attention_layernorm",
            "blk.{i}.post_ffw_norm": "layers.{i}.post_feedforward_layernorm",
        },
        keys=WINDOWS,
    )

    def hparams(self, md: ArchMetadata) -> Exaone4HParams:
        """The hyperparameters of this model."""
        return Exaone4HParams(**vars(super().hparams(md)), windows=self.windows(md, PERIOD))

    def tensors(self, hp: Exaone4HParams) -> WeightTable:
        """Separate q, k, v with norms over a head; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **normed_qkv_tensors(hp),
            **norm_tensors(hp.n_embd, "post_attention_norm", "post_ffw_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: Exaone4HParams) -> Value:
        """x += norm(attention(x)); x += norm(ffn(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            a = attention(g, x, blk, hp, i, rope_factors(w, hp))
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
            x = x + g.rms_norm(swiglu_ffn(g, x, blk), blk.post_ffw_norm, eps=hp.norm_eps)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


def attention(g: Graph, h: Value, blk: Any, hp: Any, layer: int, factors: Any) -> Value:
    """Attention with normalized q and k; in a model with windows, full attention has no positions."""
    q, k, v = normed_qkv(g, h, blk, hp)
    window = hp.windows[layer]
    if window or not hp.window:
        q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k, factors)
    a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=window)
    return g.linear(a, blk.attn_output)


class ExaoneMoeHParams(RoutedHParams):
    """The hyperparameters of experts, with the sliding-window layers."""

    windows: Windows


class ExaoneMoe(Architecture):
    """K-EXAONE (https://arxiv.org/abs/2601.01739): EXAONE 4's attention with norms before it, and experts.

    The first layer is dense; experts are chosen by sigmoids with a bias, in addition to a shared one.
    """

    name = "exaone-moe"
    checkpoint = Checkpoint(
        classes=("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"),
        names={**NAMES, **ROUTED_NAMES, "blk.{i}.exp_probs_b": "layers.{i}.mlp.e_score_correction_bias"},
        keys={
            **WINDOWS,
            **ROUTED_KEYS,
            "expert_gating_func": lambda config: 2,
            "expert_shared_count": "num_shared_experts",
            "leading_dense_block_count": leading_dense("first_k_dense_replace", "first_last_k_dense_replace"),
        },
    )

    def hparams(self, md: ArchMetadata) -> ExaoneMoeHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return ExaoneMoeHParams(**vars(hp), windows=self.windows(md, PERIOD))

    def tensors(self, hp: ExaoneMoeHParams) -> WeightTable:
        """Separate q, k, v with norms over a head; a dense feed-forward, then experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **routed_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: ExaoneMoeHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + attention(g, h, blk, hp, i, rope_factors(w, hp))
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Exaone, Exaone4, ExaoneMoe]
