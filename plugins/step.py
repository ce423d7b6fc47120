"""StepFun's Step family: step35."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

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
    swiglu_tensors,
)
from realizar.arch.checkpoint import Array, Config, Keys, Names, number, one_more
from realizar.arch.drafts import draft, draft_tensors, with_draft_block
from realizar.arch.experts import (
    RoutedHParams,
    by_router,
    limited_ffn,
    routed_expert_tensors,
    routed_experts,
    routed_hparams,
)
from realizar.arch.rope_checkpoint import llama3_factors, rope_parameters

NAMES: Names = {
    "output_norm": ("norm", one_more),
    "blk.{i}.attn_norm": ("layers.{i}.input_layernorm", one_more),
    "blk.{i}.ffn_norm": ("layers.{i}.post_attention_layernorm", one_more),
    "blk.{i}.attn_q_norm": ("layers.{i}.self_attn.q_norm", one_more),
    "blk.{i}.attn_k_norm": ("layers.{i}.self_attn.k_norm", one_more),
    "blk.{i}.attn_gate": "layers.{i}.self_attn.g_proj",
    "blk.{i}.ffn_gate_inp": "layers.{i}.moe.gate",
    "blk.{i}.exp_probs_b": "layers.{i}.moe.router_bias",
    "blk.{i}.ffn_gate_exps": "layers.{i}.moe.gate_proj",
    "blk.{i}.ffn_up_exps": "layers.{i}.moe.up_proj",
    "blk.{i}.ffn_down_exps": "layers.{i}.moe.down_proj",
    "blk.{i}.ffn_gate_shexp": "layers.{i}.share_expert.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.share_expert.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.share_expert.down_proj",
}
"""Names in checkpoints; facts of the transforms from llama.cpp's converter (conversion/step3.py)."""


def windowed(config: Config) -> list[bool]:
    """Which layers have sliding-window attention; config.json also lists the draft blocks."""
    return [kind == "sliding_attention" for kind in config["layer_types"][: config["num_hidden_layers"]]]


def of_layers(name: str) -> Any:
    """A number of heads for each layer; sliding-window layers have their own."""

    def value(config: Config) -> list[Any]:
        own = (config.get("attention_other_setting") or {}).get(name, config[name])
        return [own if flag else config[name] for flag in windowed(config)]

    return value


def rope_base(window: bool) -> Any:
    """The rotary base of layers with or without a window: config.json has one number, or one for each layer.

    Raises
    ------
    ValueError
        If such layers have different bases, or rotate another share of a head than the equations have.
    """

    def value(config: Config) -> float | None:
        found, flags = rope_parameters(config)["rope_theta"], windowed(config)
        bases = found if isinstance(found, list) else [found] * len(flags)
        shares = config.get("partial_rotary_factors") or [1.0 if flag else 0.5 for flag in flags]
        used = {(float(base), share) for base, share, flag in zip(bases, shares, flags, strict=False) if flag == window}
        if len({base for base, _ in used}) > 1 or {share for _, share in used} - {1.0 if window else 0.5}:
            raise ValueError(f"rotary bases and shares of layers {'with' if window else 'without'} a window: {used}")
        return next((base for base, _ in used), None)

    return value


def rope_freqs(config: Config) -> Array | None:
    """Llama 3's divisors for layers without a window; half of a head is rotated, and its other frequencies get 1."""
    base, n = rope_base(False)(config), config["head_dim"] // 2
    rope = {**rope_parameters(config), "rope_theta": base, "partial_rotary_factor": 0.5}
    factors = llama3_factors({**config, "rope_parameters": rope})
    return None if factors is None else np.pad(factors, (0, n - len(factors)), constant_values=1.0)


def limits(name: str) -> Any:
    """The limit of each layer, 0 for none."""

    def value(config: Config) -> list[float] | None:
        found = config.get(name)
        return [float(limit or 0) for limit in found[: config["num_hidden_layers"]]] if found else None

    return value


KEYS: Keys = {
    "attention.head_count": of_layers("num_attention_heads"),
    "attention.head_count_kv": of_layers("num_attention_groups"),
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": windowed,
    "rope.freq_base": rope_base(False),
    "rope.freq_base_swa": rope_base(True),
    "expert_count": "moe_num_experts",
    "expert_used_count": "moe_top_k",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "share_expert_dim",
    "expert_weights_scale": number("moe_router_scaling_factor"),
    "expert_weights_norm": "norm_expert_weight",
    "expert_gating_func": lambda config: 2,
    "swiglu_clamp_exp": limits("swiglu_limits"),
    "swiglu_clamp_shexp": limits("swiglu_limits_shared"),
}
"""Metadata keys from config.json."""


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
    checkpoint = Checkpoint(
        classes=("Step3p5ForCausalLM",),
        names={**NAMES, "rope_freqs": rope_freqs},
        keys=KEYS,
        only={"moe_router_activation": ("sigmoid",), "att_impl_type": ("GQA",), "use_rope_layers": ([], None)},
    )
    varies = ("n_head", "n_head_kv")
    draft_before_norm = True

    def hparams(self, md: ArchMetadata) -> Step35HParams:
        """The hyperparameters of this model; files have the rotated dimensions of sliding-window layers."""
        hp = routed_hparams(super().hparams(md), md, "sigmoid")
        windows = self.windows(md, 4, rope_dims=hp.rope_dims, rope_base=10000.0, rope_scaling=RopeScaling())
        hp, windows = with_draft_block(md, hp, windows)
        return Step35HParams(
            **vars(replace(hp, rope_dims=hp.rope_dims // 2)),
            windows=windows,
            expert_limits=(*md.numbers("swiglu_clamp_exp", 0.0), 0.0),
            limits=(*md.numbers("swiglu_clamp_shexp", 0.0), 0.0),
        )

    def tensors(self, hp: Step35HParams) -> WeightTable:
        """Heads of each layer's own, with norms and gates; a dense feed-forward or experts, whichever the file has."""
        norm = Weight((hp.head_dim,), optional=True)
        layer = {
            **norm_tensors(hp.n_embd, "attn_norm", "ffn_norm"),
            "blk.{i}.attn_q_norm": norm,
            "blk.{i}.attn_k_norm": norm,
            **by_router(swiglu_tensors(hp.n_embd, hp.n_ff), routed_expert_tensors(hp)),
        }
        table = {
            **embedding_tensors(hp.n_vocab, hp.n_embd, tied=False),
            "rope_freqs": Weight((hp.windows.rope["rope_dims"] // 2,), optional=True),
            **layer,
            **draft_tensors(hp, layer),
        }
        for i in range(hp.n_layer + hp.has_draft):
            own = hp.layer(i)
            gate = {"blk.{i}.attn_gate": Weight((own.n_head, hp.n_embd), optional=True)}
            table.update(layer_tensors(i, qkv_tensors(own), gate))
        return table

    def build(self, g: Graph, w: Weights, hp: Step35HParams) -> Value:
        """All layers, then the norm and the output matrix."""
        x = g.embed(w.token_embd)
        for i, blk in enumerate(w.blk):
            x = self.layer(g, x, blk, hp, i, w.rope_freqs)
        return g.linear(g.rms_norm(x, w.output_norm, eps=hp.norm_eps), w.output)

    def draft(self, g: Graph, w: Weights, hp: Step35HParams) -> Mapping[str, Value] | None:
        """The first draft block, as llama.cpp (step35.cpp) and vLLM (step3p5_mtp.py)."""
        return draft(g, w, hp, partial(self.layer, factors=w.rope_freqs), before_norm=True)

    def layer(self, g: Graph, x: Value, blk: Any, hp: Step35HParams, i: int, factors: Any) -> Value:
        """x += attention(norm(x)); x += ffn(norm(x)) or experts(norm(x))."""
        h = g.rms_norm(x, blk.attn_norm, eps=hp.norm_eps)
        x = x + self.attention(g, h, blk, hp.layer(i), i, None if hp.windows[i] else factors)
        return x + self.feed_forward(g, g.rms_norm(x, blk.ffn_norm, eps=hp.norm_eps), blk, hp, i)

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
