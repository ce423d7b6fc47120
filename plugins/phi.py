"""The Phi family: phi2 (Phi-1, Phi-1.5 and Phi-2), phi3 (Phi-3, Phi-3.5 and Phi-4) and phimoe (Phi-3.5-MoE)."""

from collections.abc import Sequence
from dataclasses import replace

from realizar.arch import (
    LAYER_NORM_EPS,
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    HParams,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    gqa,
    mlp,
    mlp_tensors,
    norm_tensors,
    qkv_tensors,
    rope_factors,
    rope_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import GELU_TANH, MIXTRAL_EXPERTS, Keys, Names
from realizar.arch.experts import ExpertHParams, expert_ffn, expert_hparams, expert_tensors
from realizar.arch.rope_checkpoint import (
    half_rope_dims,
    longrope_attention,
    longrope_factors,
    original_context,
    rope_dims,
)

LONGROPE: Names = {
    "rope_factors_short": longrope_factors("short_factor"),
    "rope_factors_long": longrope_factors("long_factor"),
}
LONGROPE_KEYS: Keys = {
    "rope.dimension_count": rope_dims,
    "rope.scaling.original_context_length": original_context,
    "rope.scaling.attn_factor": longrope_attention,
    "attention.sliding_window": lambda config: config.get("sliding_window") or 0,
}


class Phi2(Architecture):
    """Phi-1, Phi-1.5 and Phi-2 (https://arxiv.org/abs/2309.05463).

    Attention and feed-forward are parallel, after one layer norm; every product has a bias; partial rotary embedding.
    Depending on the converter's version, q, k and v are one tensor or three.
    """

    name = "phi2"
    norm_eps_key = LAYER_NORM_EPS
    checkpoint = Checkpoint(
        classes=("PhiForCausalLM",),
        names={
            "blk.{i}.attn_output": "layers.{i}.self_attn.dense",
            "blk.{i}.ffn_up": "layers.{i}.mlp.fc1",
            "blk.{i}.ffn_down": "layers.{i}.mlp.fc2",
            "output_norm": "final_layernorm",
        },
        keys={"rope.dimension_count": half_rope_dims},
        only={"hidden_act": GELU_TANH, "qk_layernorm": (False,)},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases everywhere; the output matrix is never tied."""
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            **norm_tensors(hp.n_embd, "attn_norm", bias=True),
            **qkv_tensors(hp, bias=True, output_bias=True),
            **mlp_tensors(hp.n_embd, hp.n_ff),
            "output_norm": Weight((hp.n_embd,), bias=True),
            "output": Weight((hp.n_vocab, hp.n_embd), bias=True),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)) + ffn(norm(x)), with one norm."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + gqa(g, h, blk, hp, i, "neox") + mlp(g, h, blk, g.gelu)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class Phi3(Architecture):
    """Phi-3, Phi-3.5 and Phi-4 (https://arxiv.org/abs/2404.14219).

    Llama with fused q, k, v, and fused gate and up. Files for long contexts have two tables of frequency factors: the
    short ones apply if n_ctx is at most the original context length, else the long ones
    (https://arxiv.org/abs/2402.13753). All layers have the sliding window, as in transformers; llama.cpp ignores it.
    """

    name = "phi3"
    checkpoint = Checkpoint(
        classes=("Phi3ForCausalLM",),
        names={
            **LONGROPE,
            "blk.{i}.attn_qkv": "layers.{i}.self_attn.qkv_proj",
            "blk.{i}.ffn_up": "layers.{i}.mlp.gate_up_proj",
        },
        keys=LONGROPE_KEYS,
    )

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """Longrope, which files do not name: the factor tables show whether it is used."""
        scaling = super().rope_scaling(md)
        return replace(scaling, kind="longrope") if scaling.kind == "none" else scaling

    def tensors(self, hp: HParams) -> WeightTable:
        """No biases; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **qkv_tensors(hp),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox", rope_factors(w, hp))
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class PhiMoe(Phi3):
    """Phi-3.5-MoE (https://arxiv.org/abs/2404.14219): norms and products with biases, two of sixteen experts.

    Computed as in llama.cpp, for which the files are made: with RMS norms, without sliding windows, and with the
    softmax over the router's two greatest logits. transformers has layer norms and SparseMixer's routing.
    """

    name = "phimoe"
    checkpoint = Checkpoint(
        classes=("PhimoeForCausalLM", "PhiMoEForCausalLM"),
        names={**LONGROPE, **MIXTRAL_EXPERTS},
        keys={**LONGROPE_KEYS, "attention.layer_norm_epsilon": None},
    )

    def window(self, md: ArchMetadata) -> int:
        """No sliding window, even if the file has the key."""
        return 0

    def hparams(self, md: ArchMetadata) -> ExpertHParams:
        """The hyperparameters of this model."""
        return expert_hparams(super().hparams(md), md)

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; biases everywhere except in the experts."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, norm_bias=True, tied=False),
            "output": Weight((hp.n_vocab, hp.n_embd), bias=True),
            **rope_tensors(hp),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm", bias=True),
            **qkv_tensors(hp, bias=True, output_bias=True),
            **expert_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "neox", rope_factors(w, hp))
            x = x + expert_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, normalize=True)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Phi2, Phi3, PhiMoe]
