"""The first OLMo of the Allen Institute for AI: olmo (its successors are in llama.py)."""

from collections.abc import Sequence

from realizar.arch import (
    LAYER_NORM_EPS,
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
from realizar.arch.blocks import clamped_qkv, qkv_tensors, rotate, swiglu_ffn, swiglu_tensors
from realizar.arch.checkpoint import PERMUTED, number


class OlmoHParams(HParams):
    """The hyperparameters, with the limit of q, k and v; 0 if there is none."""

    limit: float


class Olmo(Architecture):
    """OLMo 1B and 7B (https://arxiv.org/abs/2402.00838): layer norms without weights, and q, k and v clamped."""

    name = "olmo"
    checkpoint = Checkpoint(
        classes=("OlmoForCausalLM",),
        names=PERMUTED,
        keys={
            "attention.clamp_kqv": number("clip_qkv"),
            "attention.layer_norm_epsilon": lambda config: 1e-5,  # a constant in transformers
        },
    )
    norm_eps_key = LAYER_NORM_EPS

    def hparams(self, md: ArchMetadata) -> OlmoHParams:
        """The hyperparameters of this model."""
        return OlmoHParams(**vars(super().hparams(md)), limit=md.between("attention.clamp_kqv", 0.0, 1e9, 0.0))

    def tensors(self, hp: OlmoHParams) -> WeightTable:
        """Separate q, k, v; no norms; the output may be tied to the embedding."""
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "output": Weight((hp.n_vocab, hp.n_embd), alias="token_embd"),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: OlmoHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = clamped_qkv(g, g.layer_norm(x, None, eps=hp.norm_eps), blk, hp, hp.limit)
            q, k = rotate(g, hp, "norm", q, k)
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            x = x + swiglu_ffn(g, g.layer_norm(x, None, eps=hp.norm_eps), blk)
        return g.linear(g.layer_norm(x, None, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Olmo]
