"""The BitNet family: bitnet (BitNet b1.58)."""

from collections.abc import Sequence

import numpy as np

from realizar.arch import Architecture, Checkpoint, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rotate,
    swiglu_tensors,
)
from realizar.arch.checkpoint import Array, Names


def ternary(x: Array, hp: HParams) -> Array:
    """Each weight rounded to -1, 0 or 1 times their mean magnitude, as the model computes it when it runs.

    utils_quant.py of https://huggingface.co/1bitLLM/bitnet_b1_58-3B; checkpoints have the numbers of training.
    """
    scale = np.maximum(np.abs(x).mean(), np.float32(1e-5))
    rounded: Array = np.clip(np.rint(x / scale), -1, 1) * scale
    return rounded


MATRICES: Names = {
    f"blk.{{i}}.{ours}": (f"layers.{{i}}.{theirs}", ternary)
    for ours, theirs in {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }.items()
}  # fmt: skip


class BitNet(Architecture):
    """BitNet b1.58 3B (https://arxiv.org/abs/2402.17764): Llama with norms before the output products of each layer.

    The weights are -1, 0 or 1 times a factor, which some files hold as `NAME.scale`.
    """

    name = "bitnet"
    checkpoint = Checkpoint(
        classes=("BitnetForCausalLM",),
        names={
            **MATRICES,
            "blk.{i}.attn_sub_norm": "layers.{i}.self_attn.inner_attn_ln",
            "blk.{i}.ffn_sub_norm": "layers.{i}.mlp.ffn_layernorm",
        },
        only={"hidden_act": ("silu",), "weight_bits": (1,), "rope_scaling": (None,)},
    )

    def tensors(self, hp: HParams) -> WeightTable:
        """Separate q, k, v; SwiGLU; the output is tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **norm_tensors(hp.n_head * hp.head_dim_v, "attn_sub_norm"),
            **norm_tensors(hp.n_ff, "ffn_sub_norm"),
            **qkv_tensors(hp, bias=None, output_bias=None),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: HParams) -> Value:
        """x += out(norm(attention(norm(x)))); x += down(norm(silu(gate) * up))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "neox", q, k)
            a = g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5)
            x = x + g.linear(g.rms_norm(a, blk.attn_sub_norm, eps=hp.norm_eps), blk.attn_output)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            f = g.silu(g.linear(h, blk.ffn_gate)) * g.linear(h, blk.ffn_up)
            x = x + g.linear(g.rms_norm(f, blk.ffn_sub_norm, eps=hp.norm_eps), blk.ffn_down)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [BitNet]
