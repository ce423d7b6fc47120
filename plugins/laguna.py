"""The Laguna family of Poolside: laguna (XS.2)."""

from collections.abc import Sequence
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
    normed_qkv,
    normed_qkv_tensors,
    rotate,
)
from realizar.arch.checkpoint import ROUTED_KEYS, ROUTED_NAMES, Config, number, windows
from realizar.arch.experts import RoutedHParams, routed_ffn, routed_hparams, routed_tensors
from realizar.arch.rope_checkpoint import rope_dims, rope_parameters


def heads(config: Config) -> list[int]:
    """Query heads of each layer."""
    found = config.get("num_attention_heads_per_layer")
    return list(found or [config["num_attention_heads"]] * config["num_hidden_layers"])


class LagunaHParams(RoutedHParams):
    """The hyperparameters of experts, with the sliding-window layers."""

    windows: Windows


class Laguna(Architecture):
    """Laguna XS.2 (https://huggingface.co/poolside/Laguna-XS.2): attention with a softplus gate for each head.

    Three layers of four have sliding-window attention, with heads and a rotary embedding of their own. Behind the dense
    layers, experts are chosen by sigmoids with a bias, beside a shared one.
    """

    name = "laguna"
    varies = ("n_head",)
    checkpoint = Checkpoint(
        classes=("LagunaForCausalLM",),
        names={
            **ROUTED_NAMES,
            "blk.{i}.attn_gate": "layers.{i}.self_attn.g_proj",
            "blk.{i}.exp_probs_b": "layers.{i}.mlp.experts.e_score_correction_bias",
            "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_expert.gate_proj",
            "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_expert.up_proj",
            "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_expert.down_proj",
        },
        keys={
            **ROUTED_KEYS,
            "attention.head_count": heads,
            "attention.sliding_window": "sliding_window",
            "attention.sliding_window_pattern": windows,
            "rope.dimension_count": rope_dims,
            "rope.dimension_count_swa": lambda config: rope_dims(config, kind="sliding_attention"),
            "rope.freq_base_swa": lambda config: number("rope_theta")(rope_parameters(config, "sliding_attention")),
            "expert_shared_count": None,
            "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
            "expert_gating_func": lambda config: 2,
            "expert_weights_scale": number("moe_routed_scaling_factor"),
            "expert_weights_norm": lambda config: True,
        },
        only={"moe_apply_router_weight_on_input": (False,), "moe_router_logit_softcapping": (0.0, None)},
    )

    def hparams(self, md: ArchMetadata) -> LagunaHParams:
        """The hyperparameters of this model."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        return LagunaHParams(**vars(hp), windows=self.windows(md, 4, full_first=True, rope_scaling=RopeScaling()))

    def tensors(self, hp: LagunaHParams) -> WeightTable:
        """Query heads and their gates of each layer's own; dense feed-forwards, then experts."""
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd),
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            **routed_tensors(hp),
        }
        for i in range(hp.n_layer):
            own = hp.layer(i)
            gate = {"blk.{i}.attn_gate": Weight((own.n_head, hp.n_embd))}
            table.update(layer_tensors(i, normed_qkv_tensors(own), gate))
        return table

    def build(self, g: Graph, w: Weights, hp: LagunaHParams) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = x + self.attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp.layer(i), i)
            x = x + routed_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def attention(self, g: Graph, h: Value, blk: Any, hp: LagunaHParams, layer: int) -> Value:
        """Attention, the result of each head times the softplus of its gate."""
        q, k, v = normed_qkv(g, h, blk, hp)
        q, k = rotate(g, hp.windows.rotation(hp, layer), "neox", q, k)
        a = g.attention(q, k, v, layer=layer, scale=hp.head_dim**-0.5, window=hp.windows[layer])
        gated = g.heads(a, hp.n_head) * g.softplus(g.linear(h, blk.attn_gate))
        return g.linear(g.flatten(gated), blk.attn_output)


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Laguna]
