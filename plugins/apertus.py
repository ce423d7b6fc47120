"""The Apertus family of the Swiss AI Initiative: apertus."""

import math
from collections.abc import Sequence

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, HParams, Value, Weights, WeightTable, hookimpl
from realizar.arch.blocks import (
    embedding_tensors,
    mlp_tensors,
    norm_tensors,
    normed_gqa_tensors,
    normed_qkv,
    relu2,
    rope_factors,
    rope_tensors,
    rotate,
)
from realizar.arch.rope_checkpoint import llama3_factors


class ApertusHParams(HParams):
    """The hyperparameters, with the numbers of the activation for each layer, as files have them."""

    alpha_p: tuple[float, ...]
    alpha_n: tuple[float, ...]
    beta: tuple[float, ...]


class Apertus(Architecture):
    """Apertus (https://arxiv.org/abs/2509.14233): Llama with normalized q and k, and xIELU in place of SwiGLU."""

    name = "apertus"
    checkpoint = Checkpoint(
        classes=("ApertusForCausalLM",),
        names={
            "blk.{i}.attn_norm": "layers.{i}.attention_layernorm",
            "blk.{i}.ffn_norm": "layers.{i}.feedforward_layernorm",
            "rope_freqs": llama3_factors,
        },
        numbers={f"xielu.{name}": f"layers.{{i}}.mlp.act_fn.{name}" for name in ("alpha_p", "alpha_n", "beta", "eps")},
        only={"hidden_act": ("xielu",), "post_norm": (False,), "qk_norm": (True,)},
    )

    def hparams(self, md: ArchMetadata) -> ApertusHParams:
        """The hyperparameters of this model."""
        return ApertusHParams(
            **vars(super().hparams(md)),
            alpha_p=md.numbers("xielu.alpha_p"),
            alpha_n=md.numbers("xielu.alpha_n"),
            beta=md.numbers("xielu.beta"),
        )

    def tensors(self, hp: ApertusHParams) -> WeightTable:
        """Separate q, k, v with norms over a head."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **rope_tensors(hp),
            **normed_gqa_tensors(hp),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **mlp_tensors(hp.n_embd, hp.n_ff, bias=False),
        }

    def build(self, g: Graph, w: Weights, hp: ApertusHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            q, k, v = normed_qkv(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp)
            q, k = rotate(g, hp, "neox", q, k, rope_factors(w, hp))
            x = x + g.linear(g.attention(q, k, v, layer=i, scale=hp.head_dim**-0.5), blk.attn_output)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            x = x + g.linear(self.xielu(g, g.linear(h, blk.ffn_up), hp, i), blk.ffn_down)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def xielu(self, g: Graph, x: Value, hp: ApertusHParams, layer: int) -> Value:
        """p x^2 + beta x for x > 0, else n (exp(x) - 1 - x) + beta x (https://arxiv.org/abs/2411.13010)."""
        beta = hp.beta[layer]
        p, n = softplus(hp.alpha_p[layer]), beta + softplus(hp.alpha_n[layer])
        return relu2(g, x) * p + g.elu(x) * n + x * (beta - n)


def softplus(x: float) -> float:
    """ln(1 + exp(x))."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Apertus]
