"""Xiaomi's MiMo family: mimo2."""

from collections.abc import Mapping, Sequence
from typing import Any

from realizar.arch import (
    Architecture,
    ArchMetadata,
    Checkpoint,
    Graph,
    RopeScaling,
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
    swiglu_ffn,
    swiglu_tensors,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Config, number
from realizar.arch.drafts import draft, draft_tensors, with_draft_block
from realizar.arch.experts import RoutedHParams, by_router, routed_expert_tensors, routed_experts, routed_hparams
from realizar.arch.rope_checkpoint import rope_dims, rope_parameters


def has_window(config: Config) -> list[bool]:
    """Which layers have sliding-window attention."""
    kinds = config.get("hybrid_layer_pattern") or [kind == "sliding_attention" for kind in config["layer_types"]]
    return [bool(kind) for kind in kinds]


def heads_kv(config: Config) -> list[int]:
    """KV heads of each layer; transformers has no key for those of sliding-window layers, twice as many as others."""
    full = int(config["num_key_value_heads"])
    narrow = int(config.get("swa_num_key_value_heads") or 2 * full)
    return [narrow if window else full for window in has_window(config)]


def window_base(config: Config) -> float | None:
    """The rotary base of sliding-window layers."""
    return number("swa_rope_theta")(config) or number("rope_theta")(rope_parameters(config, "sliding_attention"))


class Mimo2HParams(RoutedHParams):
    """The hyperparameters of experts, with the sliding-window layers, and the factor for the result of attention."""

    windows: Windows
    value_scale: float


class Mimo2(Architecture):
    """MiMo V2 (https://huggingface.co/XiaomiMiMo/MiMo-V2-Flash): windows with attention sinks in most layers.

    These layers have more KV heads; keys are wider than values. Behind a dense layer, experts are chosen by sigmoids
    with a bias.
    """

    name = "mimo2"
    varies = ("n_head", "n_head_kv")
    draft_before_norm = True
    checkpoint = Checkpoint(
        classes=("MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM"),
        names={**ROUTED_NAMES, "blk.{i}.attn_sinks": "layers.{i}.self_attn.attention_sink_bias"},
        keys={
            **ROUTED_KEYS,
            "expert_gating_func": lambda config: 2,
            "attention.head_count_kv": heads_kv,
            "attention.value_length": "v_head_dim",
            "attention.value_scale": number("attention_value_scale"),
            "attention.layer_norm_rms_epsilon": number("layernorm_epsilon", "rms_norm_eps"),
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": has_window,
            "rope.dimension_count": rope_dims,
            "rope.freq_base_swa": window_base,
        },
        ignored=("*.mtp.*",),
    )

    def hparams(self, md: ArchMetadata) -> Mimo2HParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid", normalize=True)
        scale = md.between("attention.value_scale", 0.0, 1e6, 1.0)
        windows = self.windows(md, 6, rope_base=10000.0, rope_scaling=RopeScaling())  # only full attention is scaled
        hp, windows = with_draft_block(md, hp, windows)
        return Mimo2HParams(**vars(hp), windows=windows, value_scale=scale)

    def tensors(self, hp: Mimo2HParams) -> WeightTable:
        """Heads of each layer's own, and sinks in some; a dense feed-forward or experts, whichever the file has."""
        layer = {
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **by_router(swiglu_tensors(hp.n_embd, hp.n_ff), routed_expert_tensors(hp)),
        }
        own_norm = {"blk.{i}.layer_output_norm": Weight((hp.n_embd,), unless="nextn.shared_head_norm")}
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            **layer,
            **draft_tensors(hp, layer, own_norm),
        }
        for i in range(hp.n_layer + hp.has_draft):
            own = hp.layer(i)
            sinks = {"blk.{i}.attn_sinks": Weight((own.n_head,), optional=True)}
            table.update(layer_tensors(i, qkv_tensors(own), sinks))
        return table

    def build(self, g: Graph, w: Weights, hp: Mimo2HParams) -> Value:
        """All layers, then the norm and the output matrix."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def draft(self, g: Graph, w: Weights, hp: Mimo2HParams) -> Mapping[str, Value] | None:
        """The first draft block, as llama.cpp (mimo2.cpp)."""
        norm = None if w.draft is None else w.draft.layer_output_norm
        return draft(g, w, hp, self.layer, before_norm=True, norm=norm)

    def layer(self, g: Graph, x: Value, blk: Any, hp: Mimo2HParams, i: int) -> Value:
        """x += s * attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        a = self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp.layer(i), i)
        x = x + a * hp.value_scale
        h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
        return x + (swiglu_ffn(g, h, blk) if blk.ffn_gate_inp is None else routed_experts(g, h, blk, hp))

    def attention(self, g: Graph, h: Value, blk: Any, hp: Mimo2HParams, layer: int) -> Value:
        """Full attention, or that of a sliding-window layer; each has its rotary base."""
        q, k, v = qkv(g, h, blk, hp)
        q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k)
        scale, window = hp.head_dim**-0.5, hp.windows[layer]
        a = g.attention(q, k, v, layer=layer, scale=scale, window=window, sinks=blk.attn_sinks)
        return g.linear(a, blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Mimo2]
