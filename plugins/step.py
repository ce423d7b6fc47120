"""StepFun's Step family: step35."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Graph,
    Value,
    Weight,
    Weights,
    WeightTable,
    Windows,
    hookimpl,
)
from realizar.arch.blocks import (
    embedding_tensors,
    layer_tensors,
    norm_tensors,
    qkv,
    qkv_tensors,
    rotate,
    swiglu_tensors,
)
from realizar.arch.experts import (
    RoutedHParams,
    by_router,
    limited_ffn,
    routed_expert_tensors,
    routed_experts,
    routed_hparams,
)


class Step35HParams(RoutedHParams):
    """The hyperparameters of Step 3.5.

    Attributes
    ----------
    windows : Windows
        The sliding-window layers, in which all of a head is rotated, twice as much as in the others.
    expert_limits, limits : tuple[float, ...]
        Limits of SwiGLU's two factors, for each layer: of its experts, and of its shared expert or dense feed-forward.
        0 for none.
    """

    windows: Windows
    expert_limits: tuple[float, ...]
    limits: tuple[float, ...]


class Step35(Architecture):
    """Step 3.5 Flash (https://huggingface.co/stepfun-ai/Step-3.5-Flash): attention with a sigmoid gate for each head.

    Most layers have sliding-window attention, with heads and a rotary embedding of their own. Experts are chosen by
    sigmoids with a bias, beside a shared one. Some layers limit SwiGLU.
    """

    name = "step35"
    varies = ("n_head", "n_head_kv")

    def hparams(self, md: ArchMetadata) -> Step35HParams:
        """The hyperparameters of this model; files have the rotated dimensions of sliding-window layers."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return Step35HParams(
            **vars(replace(hp, rope_dims=hp.rope_dims // 2)),
            windows=self.windows(md, 4, rope_dims=hp.rope_dims, rope_base=10000.0),
            expert_limits=md.numbers("swiglu_clamp_exp", 0.0),
            limits=md.numbers("swiglu_clamp_shexp", 0.0),
        )

    def tensors(self, hp: Step35HParams) -> WeightTable:
        """Heads of each layer's own, with norms and gates; a dense feed-forward or experts, whichever the file has."""
        norm = Weight((hp.head_dim,), optional=True)
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            "rope_freqs": Weight((hp.windows.rope["rope_dims"] // 2,), optional=True),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            "blk.{i}.attn_q_norm": norm,
            "blk.{i}.attn_k_norm": norm,
            **by_router(swiglu_tensors(hp.n_embd, hp.n_ff), routed_expert_tensors(hp)),
        }
        for i in range(hp.n_layer):
            own = hp.layer(i)
            gate = {"blk.{i}.attn_gate": Weight((own.n_head, hp.n_embd), optional=True)}
            table.update(layer_tensors(i, qkv_tensors(own), gate))
        return table

    def build(self, g: Graph, w: Weights, hp: Step35HParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
            x = x + self.attention(g, h, blk, hp.layer(i), i, None if hp.windows[i] else w.rope_freqs)
            x = x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: Step35HParams, layer: int, factors: Any) -> Value:
        """Attention, the result of each head times the sigmoid of its gate."""
        q, k, v = qkv(g, h, blk, hp)
        q = q if blk.attn_q_norm is None else g.rms_norm(q, blk.attn_q_norm, eps=hp.norm_eps)
        k = k if blk.attn_k_norm is None else g.rms_norm(k, blk.attn_k_norm, eps=hp.norm_eps)
        q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k, factors)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.windows[layer])
        if blk.attn_gate is not None:
            a = g.flatten(g.heads(a, hp.n_head) * g.sigmoid(g.linear(h, blk.attn_gate)))
        return g.linear(a, blk.attn_output)

    def feed_forward(self, g: Graph, h: Value, blk: Any, hp: Step35HParams, layer: int) -> Value:
        """A dense feed-forward, or the sum of the chosen and the shared experts."""
        limit = hp.limits[layer]
        if blk.ffn_gate_inp is None:
            return limited_ffn(g, h, blk.ffn_gate, blk.ffn_up, blk.ffn_down, limit)
        return routed_experts(g, h, blk, hp, hp.expert_limits[layer], limit)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Step35]
