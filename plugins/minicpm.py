"""The MiniCPM family of OpenBMB: minicpm and minicpm3; and plm, which has the attention of MiniCPM 3."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from realizar.arch import (
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
    gqa_tensors,
    mlp,
    mlp_tensors,
    norm_tensors,
    relu2,
    rope_factors,
    rope_tensors,
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import PERMUTED, Config, Keys, Names, number
from realizar.arch.mla import LATENT_EPS
from realizar.arch.rope_checkpoint import longrope_attention, longrope_factors, original_context, rope_parameters

# Scales of files that have no keys for them, as in llama.cpp (src/models/minicpm.cpp, minicpm3.cpp).
EMBEDDING_SCALE, DEPTH_SCALE, BASE_WIDTH = 12.0, 1.4, 256

LONGROPE: Names = {
    "rope_factors_short": longrope_factors("short_factor"),
    "rope_factors_long": longrope_factors("long_factor"),
}
LONGROPE_KEYS: Keys = {
    "rope.scaling.original_context_length": original_context,
    "rope.scaling.attn_factor": longrope_attention,
}


def residual_scale(config: Config) -> float:
    """The factor for what a layer adds."""
    return float(config["scale_depth"] / config["num_hidden_layers"] ** 0.5)


class MiniCPMHParams(HParams):
    """The hyperparameters of MiniCPM: the three multipliers; logits are divided by the last one."""

    embedding_scale: float
    residual_scale: float
    logit_scale: float


class MiniCPM(Architecture):
    """MiniCPM 1B and 2B (https://arxiv.org/abs/2404.06395): Llama with scaled embeddings, residuals and logits."""

    name = "minicpm"
    checkpoint = Checkpoint(
        classes=("MiniCPMForCausalLM",),
        names={**PERMUTED, **LONGROPE},
        keys={
            **LONGROPE_KEYS,
            "rope.scaling.type": lambda config: "longrope" if rope_parameters(config).get("long_factor") else None,
            "embedding_scale": number("scale_emb"),
            "residual_scale": residual_scale,
            "logit_scale": lambda config: config["hidden_size"] / config["dim_model_base"],
        },
    )

    def hparams(self, md: ArchMetadata) -> MiniCPMHParams:
        """The hyperparameters of this model."""
        hp = super().hparams(md)
        return MiniCPMHParams(
            **vars(hp),
            embedding_scale=md.between("embedding_scale", 1e-6, 1e6, EMBEDDING_SCALE),
            residual_scale=md.between("residual_scale", 1e-6, 1e6, DEPTH_SCALE * hp.n_layer**-0.5),
            logit_scale=md.between("logit_scale", 1e-6, 1e6, hp.n_embd / BASE_WIDTH),
        )

    def tensors(self, hp: MiniCPMHParams) -> WeightTable:
        """As Llama; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **swiglu_tensors(hp.n_embd, hp.n_ff, bias=None),
        }

    def build(self, g: Graph, w: Weights, hp: MiniCPMHParams) -> Value:
        """x += r * attention(norm(x)); x += r * ffn(norm(x))."""
        x = g.embed(w.token_embd) * hp.embedding_scale
        for i, blk in enumerate(w.blk):
            a = gqa(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, "norm", rope_factors(w, hp))
            x = x + a * hp.residual_scale
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk) * hp.residual_scale
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output) * (1.0 / hp.logit_scale)


class LatentHParams(HParams):
    """The hyperparameters of attention over latents.

    Attributes
    ----------
    n_nope : int
        Dimensions of a head without rotary embedding.
    n_q_latent, n_latent : int
        Dimensions of compressed queries (0: not compressed), and of the compressed keys and values together.
    """

    n_nope: int
    n_q_latent: int
    n_latent: int


def latent_hparams(hp: HParams, md: ArchMetadata) -> LatentHParams:
    """Add the dimensions of attention over latents."""
    return LatentHParams(
        **vars(replace(hp, head_dim_v=md.positive("attention.value_length", max(1, hp.n_embd // hp.n_head)))),
        n_nope=hp.head_dim - hp.rope_dims,
        n_q_latent=md.integer("attention.q_lora_rank", 0),
        n_latent=md.positive("attention.kv_lora_rank"),
    )


def latent_tensors(hp: LatentHParams) -> WeightTable:
    """The tensors of `latent_attention`."""
    n_q, n_kv = hp.n_head * hp.head_dim, hp.n_head * (hp.n_nope + hp.head_dim_v)
    queries = {"blk.{i}.attn_q": Weight((n_q, hp.n_embd))}
    if hp.n_q_latent:
        queries = {
            "blk.{i}.attn_q_a": Weight((hp.n_q_latent, hp.n_embd)),
            "blk.{i}.attn_q_a_norm": Weight((hp.n_q_latent,)),
            "blk.{i}.attn_q_b": Weight((n_q, hp.n_q_latent)),
        }
    return {
        **queries,
        "blk.{i}.attn_kv_a_mqa": Weight((hp.n_latent + hp.rope_dims, hp.n_embd)),
        "blk.{i}.attn_kv_a_norm": Weight((hp.n_latent,)),
        "blk.{i}.attn_kv_b": Weight((n_kv, hp.n_latent)),
        "blk.{i}.attn_output": Weight((hp.n_embd, hp.n_head * hp.head_dim_v)),
    }


LATENT_NAMES: Names = {
    "blk.{i}.attn_q_a": "layers.{i}.self_attn.q_a_proj",
    "blk.{i}.attn_q_a_norm": "layers.{i}.self_attn.q_a_layernorm",
    "blk.{i}.attn_q_b": "layers.{i}.self_attn.q_b_proj",
    "blk.{i}.attn_kv_a_mqa": "layers.{i}.self_attn.kv_a_proj_with_mqa",
    "blk.{i}.attn_kv_a_norm": "layers.{i}.self_attn.kv_a_layernorm",
    "blk.{i}.attn_kv_b": "layers.{i}.self_attn.kv_b_proj",
}
LATENT_KEYS: Keys = {
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.key_length": lambda config: config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
    "attention.value_length": "v_head_dim",
    "rope.dimension_count": "qk_rope_head_dim",
}


def latent_attention(g: Graph, h: Value, blk: Any, hp: LatentHParams, layer: int, **rope: Any) -> Value:
    """Multi-head latent attention (https://arxiv.org/abs/2405.04434), with up-projections absorbed as in `deepseek.py`.

    `rope` are arguments of `Graph.rope`.
    """
    rope = {"dims": hp.rope_dims, "base": hp.rope_base, "scaling": hp.rope_scaling, **rope}
    if hp.n_q_latent:
        q = g.linear(g.rms_norm(g.linear(h, blk.attn_q_a), blk.attn_q_a_norm, eps=LATENT_EPS), blk.attn_q_b)
    else:
        q = g.linear(h, blk.attn_q)
    q = g.heads(q, hp.n_head)
    latent, k_rope = g.split(g.linear(h, blk.attn_kv_a_mqa), hp.n_latent, hp.rope_dims)
    latent = g.heads(g.rms_norm(latent, blk.attn_kv_a_norm, eps=LATENT_EPS), 1)
    absorbed = g.per_head_linear(g.slice(q, 0, hp.n_nope), blk.attn_kv_b, rows=(0, hp.n_nope), transposed=True)
    query = g.concat(absorbed, g.rope(g.slice(q, hp.n_nope, hp.rope_dims), **rope))
    key = g.concat(latent, g.rope(g.heads(k_rope, 1), **rope))
    a = g.mla_attention(query, key, layer=layer, scale=hp.head_dim**-0.5, head_dim_v=hp.n_latent)
    values = g.per_head_linear(g.heads(a, hp.n_head), blk.attn_kv_b, rows=(hp.n_nope, hp.n_nope + hp.head_dim_v))
    return g.linear(g.flatten(values), blk.attn_output)


class MiniCPM3(Architecture):
    """MiniCPM3 4B (https://huggingface.co/openbmb/MiniCPM3-4B): MiniCPM with attention over latents.

    The scales are constants, since files have no keys for them.
    """

    name = "minicpm3"
    checkpoint = Checkpoint(
        classes=("MiniCPM3ForCausalLM",),
        names={**LONGROPE, **LATENT_NAMES},
        keys={**LONGROPE_KEYS, **LATENT_KEYS},
    )

    def rope_scaling(self, md: ArchMetadata) -> RopeScaling:
        """Longrope, which files do not name: the factor tables show whether it is used."""
        scaling = super().rope_scaling(md)
        return replace(scaling, kind="longrope") if scaling.kind == "none" else scaling

    def hparams(self, md: ArchMetadata) -> LatentHParams:
        """The hyperparameters of this model."""
        return latent_hparams(super().hparams(md), md)

    def tensors(self, hp: LatentHParams) -> WeightTable:
        """Attention over latents; SwiGLU; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **rope_tensors(hp),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **latent_tensors(hp),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: LatentHParams) -> Value:
        """x += r * attention(norm(x)); x += r * ffn(norm(x))."""
        factors, scale = rope_factors(w, hp), DEPTH_SCALE * hp.n_layer**-0.5
        x = g.embed(w.token_embd) * EMBEDDING_SCALE
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + latent_attention(g, h, blk, hp, i, style="neox", factors=factors) * scale
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk) * scale
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output) * (BASE_WIDTH / hp.n_embd)


class PLM(Architecture):
    """PLM 1.8B (https://arxiv.org/abs/2503.12167): attention over latents, and squared relu without a gate."""

    name = "plm"
    checkpoint = Checkpoint(
        ("PLMForCausalLM",), LATENT_NAMES, LATENT_KEYS,
        only={"hidden_act": ("relu2",), "attention_bias": (False,), "rope_scaling": (None,)},
    )  # fmt: skip

    def hparams(self, md: ArchMetadata) -> LatentHParams:
        """The hyperparameters of this model."""
        return latent_hparams(super().hparams(md), md)

    def tensors(self, hp: LatentHParams) -> WeightTable:
        """Attention over latents; the output is tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **latent_tensors(hp),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=False),
        }

    def build(self, g: Graph, w: Weights, hp: LatentHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + latent_attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, style="norm")
            x = x + mlp(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, partial(relu2, g))
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [MiniCPM, MiniCPM3, PLM]
