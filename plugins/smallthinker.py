"""The SmallThinker family of PowerInfer: smallthinker."""

from collections.abc import Sequence
from typing import Any

from realizar.arch import Architecture, ArchMetadata, Checkpoint, Graph, Value, Weights, WeightTable, Windows, hookimpl
from realizar.arch.blocks import embedding_tensors, gqa_tensors, norm_tensors, qkv, rotate
from realizar.arch.checkpoint import Config
from realizar.arch.experts import RoutedHParams, expert_tensors, routed_hparams


def windows(config: Config) -> list[bool] | None:
    """Which layers have sliding-window attention; None if none has.

    Raises
    ------
    ValueError
        If it is not those layers that have positions, or if not all layers have experts.
    """
    n_layer, layout = config["num_hidden_layers"], config.get("sliding_window_layout")
    flags = [bool(flag) for flag in layout] if layout else [False] * n_layer
    rotated = [bool(flag) for flag in config.get("rope_layout") or [True] * n_layer]
    if rotated != flags and (any(flags) or not all(rotated)):
        raise ValueError("rope_layout must be sliding_window_layout, or all layers where there are no windows")
    if not all(config.get("moe_layer_layout") or [True]):
        raise ValueError("moe_layer_layout has layers without experts, which are not supported")
    return flags if any(flags) else None


class SmallThinkerHParams(RoutedHParams):
    """The hyperparameters of experts, with the sliding-window layers."""

    windows: Windows


class SmallThinker(Architecture):
    """SmallThinker 4B and 21B (https://arxiv.org/abs/2507.20984): the router reads the input of attention.

    So the experts of a token are known before they are needed. They have relu in place of silu. With windows, every
    fourth layer, the first one included, has full attention and no positions.
    """

    name = "smallthinker"
    checkpoint = Checkpoint(
        classes=("SmallThinkerForCausalLM",),
        names={
            "blk.{i}.ffn_gate_inp": "layers.{i}.block_sparse_moe.primary_router",
            "blk.{i}.ffn_gate_exps": "layers.{i}.block_sparse_moe.experts.{e}.gate",
            "blk.{i}.ffn_up_exps": "layers.{i}.block_sparse_moe.experts.{e}.up",
            "blk.{i}.ffn_down_exps": "layers.{i}.block_sparse_moe.experts.{e}.down",
        },
        keys={
            "feed_forward_length": "moe_ffn_hidden_size",
            "expert_count": "moe_num_primary_experts",
            "expert_used_count": "moe_num_active_primary_experts",
            "expert_feed_forward_length": "moe_ffn_hidden_size",
            "expert_gating_func": lambda config: 1 if config.get("moe_primary_router_apply_softmax") else 2,
            "attention.sliding_window": lambda config: windows(config) and config["sliding_window_size"],
            "attention.sliding_window_pattern": windows,
        },
        only={
            "hidden_act": ("relu",),
            "moe_enable_secondary_experts": (False,),
            "moe_enable_early_router": (True,),
            "rope_scaling": (None,),
        },
    )

    def hparams(self, md: ArchMetadata) -> SmallThinkerHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid", normalize=True)
        return SmallThinkerHParams(**vars(hp), windows=self.windows(md, 4, full_first=True))

    def tensors(self, hp: SmallThinkerHParams) -> WeightTable:
        """Separate q, k, v; experts; the output may be tied to the embedding."""
        return {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **gqa_tensors(hp, bias=None, output_bias=None),
            **norm_tensors(hp.n_embd, "ffn_norm"),
            **expert_tensors(hp),
        }

    def build(self, g: Graph, w: Weights, hp: SmallThinkerHParams) -> Value:
        """x += attention(norm(x)); x += experts(norm(x)), chosen by the x before attention."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            logits = g.linear(x, blk.ffn_gate_inp)
            choice = g.route(logits, hp.n_expert_used, scale=hp.expert_scale, **hp.routing)
            x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i)
            h = g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps)
            weights = {"gate": blk.ffn_gate_exps, "up": blk.ffn_up_exps, "down": blk.ffn_down_exps}
            x = x + g.experts(h, choice, **weights, activation="relu")
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: SmallThinkerHParams, layer: int) -> Value:
        """Attention with positions, or in a model with windows full attention without."""
        q, k, v = qkv(g, h, blk, hp)
        window = hp.windows[layer]
        if window or not hp.window:
            q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=window)
        return g.linear(a, blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [SmallThinker]
