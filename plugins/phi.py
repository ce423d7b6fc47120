"""The Phi family: phi2 (Phi-1, Phi-1.5 and Phi-2)."""

from collections.abc import Sequence

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
from realizar.arch.blocks import fused_qkv, gqa
from realizar.arch.checkpoint import rope_dims


class Phi2(Architecture):
    """Phi-1, Phi-1.5 and Phi-2 (https://arxiv.org/abs/2309.05463).

    Attention and feed-forward read one layer norm and are added side by side; every product has a bias; only the first
    elements of a head are rotated. Files of different ages hold q, k and v as one tensor or as three.
    """

    name = "phi2"
    checkpoint = Checkpoint(
        classes=("PhiForCausalLM",),
        names={
            "blk.{i}.attn_output": "layers.{i}.self_attn.dense",
            "blk.{i}.ffn_up": "layers.{i}.mlp.fc1",
            "blk.{i}.ffn_down": "layers.{i}.mlp.fc2",
            "output_norm": "final_layernorm",
        },
        keys={"rope.dimension_count": rope_dims},
    )

    def norm_eps(self, md: ArchMetadata) -> float:
        """The epsilon of the layer norms."""
        return md.between("attention.layer_norm_epsilon", 0.0, 1.0)

    def tensors(self, hp: HParams) -> WeightTable:
        """Biases everywhere; the output matrix is never tied."""
        return {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "blk.{i}.attn_norm": Weight((hp.n_embd,), bias=True),
            **fused_qkv(hp, bias=True),
            "blk.{i}.attn_output": Weight((hp.n_embd, hp.n_head * hp.head_dim_v), bias=True),
            "blk.{i}.ffn_up": Weight((hp.n_ff, hp.n_embd), bias=True),
            "blk.{i}.ffn_down": Weight((hp.n_embd, hp.n_ff), bias=True),
            "output_norm": Weight((hp.n_embd,), bias=True),
            "output": Weight((hp.n_vocab, hp.n_embd), bias=True),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += attention(norm(x)) + ffn(norm(x)), with one norm."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            a = gqa(g, h, blk, hp, i, "neox")
            f = g.linear(g.gelu(g.linear(h, blk.ffn_up)), blk.ffn_down)
            x = x + a + f
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Phi2]
