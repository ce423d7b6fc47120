"""Gemma 4: layers that attend to the keys and values of earlier ones, per-layer embeddings, experts beside an MLP."""

from collections.abc import Sequence
from typing import Any

import numpy as np

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
from realizar.arch.blocks import geglu_ffn, norm_tensors
from realizar.arch.checkpoint import Array, Config
from realizar.arch.experts import ExpertHParams, expert_hparams, expert_tensors
from realizar.arch.rope_checkpoint import rope_parameters
from realizar.arch.shared_kv import (
    IGNORED,
    KEYS,
    NAMES,
    Shared,
    SharedHParams,
    attention,
    logits,
    per_layer_ffn,
    per_layer_inputs,
)


def of_full_layers(config: Config, name: str, old: str, default: int) -> int:
    """A number that layers without a window have of their own; `old` is its key before transformers 5.20."""
    layers = config.get("per_layer_config")
    own = (layer.get(name) for layer in (layers or {}).values())
    usual = default if layers is None else config[name]
    return int(next((n for n in own if n), config.get(old)) or usual)


def head_dim(config: Config) -> int:
    """Elements of a head in layers without a window."""
    return of_full_layers(config, "head_dim", "global_head_dim", 512)


def heads_kv(config: Config) -> list[int]:
    """KV heads of each layer."""
    n: int = config["num_key_value_heads"]
    full = of_full_layers(config, "num_key_value_heads", "num_global_key_value_heads", n)
    return [full if kind == "full_attention" else n for kind in config["layer_types"]]


def n_ff(config: Config) -> list[int]:
    """Feed-forward widths; layers that attend to the keys and values of others may be twice as wide."""
    n, n_layer = config["intermediate_size"], config["num_hidden_layers"]
    n_shared = config["num_kv_shared_layers"] if config.get("use_double_wide_mlp") else 0
    return [n] * (n_layer - n_shared) + [2 * n] * n_shared


def rope_freqs(config: Config) -> Array:
    """Divisors of the rotary frequencies in layers without a window: those that do not rotate are close to infinite."""
    half = head_dim(config) // 2
    n = int(half * rope_parameters(config).get("partial_rotary_factor", 1.0))
    return np.array([1.0] * n + [1e30] * (half - n), np.float32)


class Gemma4HParams(SharedHParams):
    """The hyperparameters of Gemma 4, and those of its experts, if there are any."""

    experts: ExpertHParams | None


class Gemma4(Shared):
    """Gemma 4 (https://ai.google.dev/gemma/docs/core/model_card_4): wide heads, partly rotated, in full layers.

    E2B and E4B have per-layer embeddings, and share keys and values; 26B-A4B has experts beside a dense feed-forward.
    """

    name = "gemma4"
    window_period = 6
    checkpoint = Checkpoint(
        classes=("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
        names={
            **NAMES,
            "rope_freqs": rope_freqs,
            "blk.{i}.layer_output_scale": "layers.{i}.layer_scalar",
            "blk.{i}.ffn_gate_inp": "layers.{i}.router.proj",
            "blk.{i}.ffn_gate_inp.scale": "layers.{i}.router.scale",
            "blk.{i}.ffn_gate_up_exps": "layers.{i}.experts.gate_up_proj",
            "blk.{i}.ffn_down_exps": "layers.{i}.experts.down_proj",
            "blk.{i}.ffn_down_exps.scale": "layers.{i}.router.per_expert_scale",
            "blk.{i}.post_ffw_norm_1": "layers.{i}.post_feedforward_layernorm_1",
            "blk.{i}.pre_ffw_norm_2": "layers.{i}.pre_feedforward_layernorm_2",
            "blk.{i}.post_ffw_norm_2": "layers.{i}.post_feedforward_layernorm_2",
        },
        keys={
            **KEYS,
            "feed_forward_length": n_ff,
            "attention.head_count_kv": heads_kv,
            "attention.key_length": head_dim,
            "attention.value_length": head_dim,
            "attention.key_length_swa": "head_dim",
            "attention.value_length_swa": "head_dim",
            "rope.dimension_count": head_dim,
            "rope.dimension_count_swa": "head_dim",
            "expert_count": lambda config: config.get("num_experts") if config.get("enable_moe_block") else None,
            "expert_used_count": "top_k_experts",
            "expert_feed_forward_length": "moe_intermediate_size",
        },
        only={"hidden_activation": ("gelu_pytorch_tanh",)},
        ignored=IGNORED,
    )

    def hparams(self, md: ArchMetadata) -> Any:
        """The hyperparameters of this model."""
        has_experts = md.integer_between("expert_count", 0, 2**20, 0) > 0
        experts = expert_hparams(Architecture.hparams(self, md), md) if has_experts else None
        return Gemma4HParams(**vars(super().hparams(md)), experts=experts)

    def tensors(self, hp: Any) -> WeightTable:
        """The tensors of `Shared`, experts, a scale of each layer, and the rotary frequencies of full layers."""
        table = {**super().tensors(hp), "blk.{i}.layer_output_scale": Weight((1,), optional=True)}
        if not all(hp.windows[i] for i in range(hp.n_layer)):
            table["rope_freqs"] = Weight((hp.rope_dims // 2,))
        if hp.experts is None:
            return table
        return {
            **table,
            **expert_tensors(hp.experts),
            "blk.{i}.ffn_gate_inp.scale": Weight((hp.n_embd,), suffix=""),
            "blk.{i}.ffn_down_exps.scale": Weight((hp.experts.n_expert,), suffix=""),
            **norm_tensors(hp.n_embd, "post_ffw_norm_1", "pre_ffw_norm_2", "post_ffw_norm_2"),
        }

    def build(self, g: Graph, w: Weights, hp: Any) -> Value:
        """x += norm(attention(norm(x))); x += norm(ffn(norm(x))); x += per_layer_ffn(x); x *= scale."""
        x = g.embed(w.token_embd, scale=hp.n_embd**0.5)
        inputs = per_layer_inputs(g, x, w, hp) if hp.n_embd_per_layer else []
        for i, blk in enumerate(w.blk):
            factors = None if hp.windows[i] else w.rope_freqs
            a = attention(g, g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps), blk, hp, i, factors, self.sees_spans(hp, i))
            x = x + g.rms_norm(a, blk.post_attention_norm, eps=hp.norm_eps)
            x = x + g.rms_norm(self.feed_forward(g, x, blk, hp), blk.post_ffw_norm, eps=hp.norm_eps)
            if inputs:
                x = x + per_layer_ffn(g, x, inputs[i], blk, hp)
            if blk.layer_output_scale is not None:
                x = g.mul_weight(x, blk.layer_output_scale)
        return logits(g, x, w, hp)

    def sees_spans(self, hp: Any, layer: int) -> bool:
        """Whether the rows of a picture see each other: in layers with a window, but for E2B and E4B in none.

        Files do not say it (`use_bidirectional_attention`); only these two have per-layer embeddings.
        """
        return bool(hp.windows[layer]) and not hp.n_embd_per_layer

    def feed_forward(self, g: Graph, x: Value, blk: Any, hp: Any) -> Value:
        """A dense feed-forward; with experts the sum of their norms, the experts chosen by a norm of its own."""
        f = geglu_ffn(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk)
        if hp.experts is None:
            return f
        routed = g.rms_norm(x, blk.ffn_gate_inp_scale, eps=hp.norm_eps) * hp.n_embd**-0.5
        choice = g.route(g.linear(routed, blk.ffn_gate_inp), hp.experts.n_expert_used, normalize=True,
                         expert_scale=blk.ffn_down_exps_scale)  # fmt: skip
        e = g.experts(g.rms_norm(x, blk.pre_ffw_norm_2, eps=hp.norm_eps), choice, gate=blk.ffn_gate_exps,
                      up=blk.ffn_up_exps, down=blk.ffn_down_exps, activation="gelu")  # fmt: skip
        f, e = g.rms_norm(f, blk.post_ffw_norm_1, eps=hp.norm_eps), g.rms_norm(e, blk.post_ffw_norm_2, eps=hp.norm_eps)
        return f + e


@hookimpl
def realizar_architectures() -> Sequence[type[Architecture]]:
    """The architectures of this family."""
    return [Gemma4]
