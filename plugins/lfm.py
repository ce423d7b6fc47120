"""Liquid AI's LFM2 family: lfm2 and lfm2moe, of short convolutions and some attention layers."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    Value,
    Weight,
    Weights,
    WeightTable,
    hookimpl,
)
from realizar.arch.blocks import layer_tensors, norm_tensors, normed_gqa, normed_gqa_tensors
from realizar.arch.checkpoint import Config, Keys, Names, number
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors

NAMES: Names = {
    "token_embd_norm": "embedding_norm",
    "blk.{i}.attn_norm": "layers.{i}.operator_norm",
    "blk.{i}.attn_q_norm": "layers.{i}.self_attn.q_layernorm",
    "blk.{i}.attn_k_norm": "layers.{i}.self_attn.k_layernorm",
    "blk.{i}.attn_output": "layers.{i}.self_attn.out_proj",
    "blk.{i}.shortconv.in_proj": "layers.{i}.conv.in_proj",
    "blk.{i}.shortconv.conv": "layers.{i}.conv.conv",
    "blk.{i}.shortconv.out_proj": "layers.{i}.conv.out_proj",
    "blk.{i}.ffn_norm": "layers.{i}.ffn_norm",
    "blk.{i}.ffn_gate": "layers.{i}.feed_forward.w1",
    "blk.{i}.ffn_down": "layers.{i}.feed_forward.w2",
    "blk.{i}.ffn_up": "layers.{i}.feed_forward.w3",
}


def heads_kv(config: Config) -> list[int]:
    """KV heads of each layer; 0 for convolutions."""
    return [0 if kind == "conv" else config["num_key_value_heads"] for kind in config["layer_types"]]


def n_ff(config: Config) -> int:
    """Feed-forward width; config.json may contain the value before adjustment."""
    n = int(config.get("block_ff_dim") or config["intermediate_size"])
    if not config.get("block_auto_adjust_ff_dim"):
        return n
    multiple = int(config["block_multiple_of"])
    return -(int(config.get("block_ffn_dim_multiplier", 1.0) * int(2 * n / 3)) // -multiple) * multiple


KEYS: Keys = {
    "attention.head_count_kv": heads_kv,
    "attention.layer_norm_rms_epsilon": number("norm_eps"),
    "shortconv.l_cache": "conv_L_cache",
}


def conv_tensors(n_embd: int, n_tap: int) -> WeightTable:
    """The tensors of `short_conv`."""
    return {
        "blk.{i}.shortconv.in_proj": Weight((3 * n_embd, n_embd)),
        "blk.{i}.shortconv.conv": Weight((n_embd, n_tap)),
        "blk.{i}.shortconv.out_proj": Weight((n_embd, n_embd)),
    }


def short_conv(g: Graph, h: Value, blk: Any, layer: int) -> Value:
    """A gated convolution over the last tokens: out(c * conv(b * x)), with b, c and x projections of h."""
    n_embd, n_tap = blk.shortconv_conv.shape
    b, c, x = g.split(g.linear(h, blk.shortconv_in_proj), n_embd, n_embd, n_embd)
    y = g.causal_conv1d(b * x, blk.shortconv_conv, g.state(layer, (n_tap - 1, n_embd)))
    return g.linear(c * y, blk.shortconv_out_proj)


class Lfm2HParams(RoutedHParams):
    """The hyperparameters, with the width of a convolution in tokens; a layer without KV heads is a convolution."""

    n_tap: int


class Lfm2(Architecture):
    """LFM2 and LFM2.5 (https://arxiv.org/abs/2511.23404): most layers are short gated convolutions."""

    name = "lfm2"
    varies = ("n_head_kv",)
    checkpoint = Checkpoint(
        ("Lfm2ForCausalLM", "Lfm2VlForConditionalGeneration"), NAMES, {**KEYS, "feed_forward_length": n_ff}
    )

    def hparams(self, md: ArchMetadata) -> Lfm2HParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid", normalize=True)
        return Lfm2HParams(**vars(hp), n_tap=md.positive("shortconv.l_cache"))

    def tensors(self, hp: Lfm2HParams) -> WeightTable:
        """A convolution or attention, then a feed-forward or experts; the output may be tied to the embedding."""
        table = {
            "token_embd": Weight((hp.n_vocab, hp.n_embd)),
            "token_embd_norm": Weight((hp.n_embd,)),  # the last norm
            "output": Weight((hp.n_vocab, hp.n_embd), alias="token_embd"),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **routed_tensors(hp),
        }
        for i in range(hp.n_layer):
            own = hp.layer(i)
            mixer = normed_gqa_tensors(own) if own.n_head_kv else conv_tensors(hp.n_embd, hp.n_tap)
            table.update(layer_tensors(i, mixer))
        return table

    def build(self, g: Graph, w: Weights, hp: Lfm2HParams) -> Value:
        """x += attention(norm(x)) or conv(norm(x)); x += ffn(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            h, own = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), hp.layer(i)
            x = x + (normed_gqa(g, h, blk, own, i, "neox") if own.n_head_kv else short_conv(g, h, blk, i))
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.token_embd_norm, eps=hp.norm_eps), w.output)


class Lfm2Moe(Lfm2):
    """LFM2 8B-A1B and 24B-A2B: LFM2 with experts after the first layers, chosen by sigmoids with a bias."""

    name = "lfm2moe"
    checkpoint = Checkpoint(
        classes=("Lfm2MoeForCausalLM",),
        names={
            **NAMES,
            "blk.{i}.ffn_gate_inp": "layers.{i}.feed_forward.gate",
            "blk.{i}.exp_probs_b": "layers.{i}.feed_forward.expert_bias",
            "blk.{i}.ffn_gate_exps": "layers.{i}.feed_forward.experts.{e}.w1",
            "blk.{i}.ffn_down_exps": "layers.{i}.feed_forward.experts.{e}.w2",
            "blk.{i}.ffn_up_exps": "layers.{i}.feed_forward.experts.{e}.w3",
        },
        keys={
            **KEYS,
            "expert_feed_forward_length": "moe_intermediate_size",
            "leading_dense_block_count": "num_dense_layers",
            "expert_gating_func": lambda config: 2,
            "expert_weights_norm": "norm_topk_prob",
            "expert_weights_scale": number("routed_scaling_factor"),
        },
    )


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Lfm2, Lfm2Moe]
