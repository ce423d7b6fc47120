"""The RWKV family: rwkv7 (RWKV 7 "Goose"), arwkv7 (Qwen 2.5 with RWKV 7 in place of attention)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from realizar.arch import (
    LAYER_NORM_EPS,
    RMS_NORM_EPS,
    Architecture,
    ArchMetadata,
    Graph,
    HParams,
    RopeScaling,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import embedding_tensors, l2_norm, norm_tensors, relu2, swiglu_ffn, swiglu_tensors

DECAY_BOUND = -math.exp(-0.5)
"""Logarithm of the smallest decay (https://arxiv.org/abs/2503.14456, section 4)."""
GROUP_NORM_EPS = 64e-5
"""Epsilon of the norm of heads: 1e-5 times the head size of 64 (BlinkDL/RWKV-LM, RWKV-v7)."""


class RwkvHParams(HParams):
    """The hyperparameters, and the ranks of the low-rank products.

    Attributes
    ----------
    n_decay, n_iclr, n_value, n_gate : int
        Ranks for the decay, the in-context learning rate, the mix with the values of the first layer and the gate; no
        gate if its rank is 0.
    """

    n_decay: int
    n_iclr: int
    n_value: int
    n_gate: int


def low_rank(g: Graph, x: Value, down: Any, up: Any, bias: Any = None) -> Value:
    """up(down(x)) + bias."""
    return g.linear(g.linear(x, down), up if bias is None else replace(up, bias=bias.tensor))


class Rwkv7(Architecture):
    """RWKV 7 (https://arxiv.org/abs/2503.14456): time mixing by the generalized delta rule, channel mixing by relu².

    Both read mixes of a token's normed activations with those of the previous token. The state of a head is a matrix;
    vectors of each token say what is removed from it, what is added, and how fast each channel of the keys decays.
    """

    name = "rwkv7"
    norm_eps_key = LAYER_NORM_EPS

    def hparams(self, md: ArchMetadata) -> RwkvHParams:
        """The hyperparameters of this model, which has no attention and no positions."""
        n_embd, head_dim = md.positive("embedding_length"), md.positive("wkv.head_size")
        n_head = max(1, n_embd // head_dim)
        return RwkvHParams(
            n_layer=md.layers(), n_embd=n_embd, n_ff=md.positive("feed_forward_length"), n_vocab=md.n_vocab(),
            n_ctx_train=md.positive("context_length"), n_head=n_head, n_head_kv=n_head, head_dim=head_dim,
            head_dim_v=head_dim, norm_eps=self.norm_eps(md), rope_dims=0, rope_base=0.0, rope_scaling=RopeScaling(),
            window=0, n_decay=md.positive("attention.decay_lora_rank"), n_iclr=md.positive("attention.iclr_lora_rank"),
            n_value=md.positive("attention.value_residual_mix_lora_rank"),
            n_gate=md.integer("attention.gate_lora_rank", 0),
        )  # fmt: skip

    def ignored(self, md: ArchMetadata, hp: Any) -> Sequence[str]:
        """The first layer does not mix its values with those of the first layer, but has the tensors for it."""
        return (*super().ignored(md, hp), *(f"blk.0.time_mix_v{j}.weight" for j in range(3)))

    def tensors(self, hp: RwkvHParams) -> WeightTable:
        """Time mixing and channel mixing, each after a layer norm; the embedding is normed too."""
        n, n_ff, norm = hp.n_embd, hp.n_ff, Weight((hp.n_embd,), bias=True)
        return {
            **embedding_tensors(hp.n_vocab, n, norm_bias=True, tied=False),
            "token_embd_norm": norm,
            **norm_tensors(n, "attn_norm", "attn_norm_2", bias=True),
            **self.time_mix_tensors(hp),
            "blk.{i}.time_mix_ln": norm,
            "blk.{i}.channel_mix_lerp_k": Weight((1, 1, n)),
            "blk.{i}.channel_mix_key": Weight((n_ff, n)),
            "blk.{i}.channel_mix_value": Weight((n, n_ff)),
        }

    def time_mix_tensors(self, hp: RwkvHParams) -> WeightTable:
        """The tensors of time mixing, without the norm of its heads."""
        n, vector, square = hp.n_embd, Weight((hp.n_embd,)), Weight((hp.n_embd, hp.n_embd))
        ranks = {"w": hp.n_decay, "a": hp.n_iclr, "g": hp.n_gate}
        layers: WeightTable = {
            **{f"blk.{{i}}.time_mix_{which}1": Weight((rank, n)) for which, rank in ranks.items() if rank},
            **{f"blk.{{i}}.time_mix_{which}2": Weight((n, rank)) for which, rank in ranks.items() if rank},
            **{f"blk.{{i}}.time_mix_{part}": vector for part in ("w0", "a0", "k_k", "k_a", "r_k")},
            **{f"blk.{{i}}.time_mix_{part}": square for part in ("receptance", "key", "value", "output")},
            "blk.{i}.time_mix_lerp_fused": Weight((6 if hp.n_gate else 5, 1, 1, n)),
        }
        for i in range(1, hp.n_layer):
            layers[f"blk.{i}.time_mix_v0"] = vector
            layers[f"blk.{i}.time_mix_v1"] = Weight((hp.n_value, n))
            layers[f"blk.{i}.time_mix_v2"] = Weight((n, hp.n_value))
        return layers

    def time_mix(
        self, g: Graph, h: Value, blk: Any, hp: RwkvHParams, layer: int, first: Value | None
    ) -> tuple[Value, Value]:
        """The delta rule over the tokens, with a norm for each head and a gate; also its values before it.

        `first` are the values of the first layer, in the others.
        """
        r, w, k, v, a, *gate = g.token_shift(h, blk.time_mix_lerp_fused, g.state(layer, (hp.n_embd,), "time_shift"))
        values = g.linear(v, blk.time_mix_value)
        if first is not None:
            share = g.sigmoid(low_rank(g, v, blk.time_mix_v1, blk.time_mix_v2, blk.time_mix_v0))
            values = values + (first + -1.0 * values) * share
        r, k = g.linear(r, blk.time_mix_receptance), g.linear(k, blk.time_mix_key)
        decay = g.linear(g.tanh(g.linear(w, blk.time_mix_w1)), blk.time_mix_w2)
        decay = g.decay(decay, a=None, bias=blk.time_mix_w0, bound=DECAY_BOUND)
        rate = g.sigmoid(low_rank(g, a, blk.time_mix_a1, blk.time_mix_a2, blk.time_mix_a0))
        y = self.delta(g, r, k, values, decay, rate, blk, hp, layer)
        if gate:
            y = y * g.linear(g.sigmoid(g.linear(gate[0], blk.time_mix_g1)), blk.time_mix_g2)
        return g.linear(y, blk.time_mix_output), values

    def delta(
        self, g: Graph, r: Value, k: Value, v: Value, decay: Value, rate: Value, blk: Any, hp: RwkvHParams, layer: int
    ) -> Value:  # fmt: skip
        """The generalized delta rule, whose heads are normed, and a bonus for the current token."""
        removed = l2_norm(g, g.heads(g.mul_weight(k, blk.time_mix_k_k), hp.n_head), 1e-24)
        scaled = g.mul_weight(k, blk.time_mix_k_a)
        k = g.heads(k + scaled * rate + -1.0 * scaled, hp.n_head)
        r, v, rate = (g.heads(x, hp.n_head) for x in (r, v, rate))
        state = g.state(layer, (hp.n_head, hp.head_dim, hp.head_dim), "delta")
        y = g.generalized_delta_rule(r, k, v, decay, removed, -1.0 * (removed * rate), state=state)
        if blk.time_mix_ln is not None:
            y = g.layer_norm(y, blk.time_mix_ln, eps=GROUP_NORM_EPS)
        bonus = g.per_head_linear(r * k, blk.time_mix_r_k)
        return g.flatten(y + v * g.flatten(bonus))

    def channel_mix(self, g: Graph, h: Value, blk: Any, hp: RwkvHParams, layer: int) -> Value:
        """value(relu(key(mix))^2), for a mix of the token with the previous one."""
        (mixed,) = g.token_shift(h, blk.channel_mix_lerp_k, g.state(layer, (hp.n_embd,), "channel_shift"))
        return g.linear(relu2(g, g.linear(mixed, blk.channel_mix_key)), blk.channel_mix_value)

    def build(self, g: Graph, w: Weights, hp: RwkvHParams) -> Value:
        """x += time_mix(norm(x)); x += channel_mix(norm(x))."""
        x, first = g.layer_norm(g.embed(w.token_embd), w.token_embd_norm, eps=hp.norm_eps), None
        for i, blk in enumerate(w.blk):
            h = g.layer_norm(x, blk.attn_norm, eps=hp.norm_eps)
            y, values = self.time_mix(g, h, blk, hp, i, first)
            first, x = values if first is None else first, x + y
            x = x + self.channel_mix(g, g.layer_norm(x, blk.attn_norm_2, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.layer_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


class ARwkv7(Rwkv7):
    """Qwen 2.5 with RWKV 7's time mixing (https://arxiv.org/abs/2501.15570) and its own RMS norms and feed-forward.

    The norm of the heads and the gate may be missing.
    """

    name = "arwkv7"
    norm_eps_key = RMS_NORM_EPS

    def tensors(self, hp: RwkvHParams) -> WeightTable:
        """Time mixing and a feed-forward, each after an RMS norm."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **self.time_mix_tensors(hp),
            "blk.{i}.time_mix_ln": Weight((hp.n_embd,), bias=True, optional=True),
            **swiglu_tensors(hp.n_embd, hp.n_ff),
        }

    def build(self, g: Graph, w: Weights, hp: RwkvHParams) -> Value:
        """x += time_mix(norm(x)); x += ffn(norm(x))."""
        x, first = g.embed(w.token_embd), None
        for i, blk in enumerate(w.blk):
            y, values = self.time_mix(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, first)
            first, x = values if first is None else first, x + y
            x = x + swiglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Rwkv7, ARwkv7]
