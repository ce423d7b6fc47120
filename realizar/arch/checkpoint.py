"""Checkpoint: how Hugging Face's files hold an architecture - their classes, tensor names, and keys of config.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Config = Mapping[str, Any]
Transform = Callable[[Array, Any], Array]
Source = str | tuple[str, Transform] | Callable[[Config], "Array | None"]
Key = str | tuple[str, ...] | Callable[[Config], Any] | None
Names = Mapping[str, Source]
Keys = Mapping[str, Key]


@dataclass(frozen=True)
class Checkpoint:
    """What `realizar convert` needs to know of an architecture, beside its own table of tensors.

    Attributes
    ----------
    classes : tuple of str
        Values of config.json's "architectures" that are this architecture.
    names : dict
        Name of a tensor of `Architecture.tensors` -> where it comes from: a name in the checkpoint without ".weight"
        and without the prefix of the base model ("model.", "transformer."); such a name and a transform, called with
        the array and the hparams, its bias too; or a function of config.json that makes a tensor, or None. `{i}` is
        the layer; an `{e}` is an expert, and all of them are stacked; of several names, cut by |, the first that is
        there counts. What is not named here comes from `NAMES`. A name that ends in ".bias" is for a bias that does
        not lie beside its weight.
    keys : dict
        GGUF key without the architecture (but one that begins with "tokenizer.") -> the key of config.json, several of
        which the first that is there counts, a function of config.json, or None for nothing. What is not named here
        comes from `KEYS`.
    tied : callable
        Says by config.json whether the output matrix is the embedding's, whatever else the checkpoint holds.
    ignored : tuple of str
        Patterns of names that may be in the checkpoint and are not needed, beside those of `IGNORED`; `*` stands for
        any text. Other tensors that nothing asks for are an error.
    """

    classes: tuple[str, ...]
    names: Names = field(default_factory=dict)
    keys: Keys = field(default_factory=dict)
    tied: Callable[[Config], bool] = lambda config: bool(config.get("tie_word_embeddings", False))
    ignored: tuple[str, ...] = ()


IGNORED = (
    # what is computed of config.json and was stored all the same: frequencies, masks, positions
    "*.inv_freq", "*.attn.bias", "*.attention.bias", "*.masked_bias", "*.position_ids",
    # scales of roundings that are made here by the values' own size
    "*.input_scale", "*.k_scale", "*.v_scale",
    # encoders of images and sounds beside a language model
    "*visual.*", "*vision_*", "*multi_modal_projector.*", "*audio_tower.*", "*mm_projector.*",
    # multi-token prediction that lies beside the layers
    "mtp.*", "model.mtp.*",
)  # fmt: skip
"""Tensors of checkpoints that no text model computes with."""


def _layers(names: Mapping[str, str]) -> dict[str, Source]:
    return {f"blk.{{i}}.{ours}": f"layers.{{i}}.{theirs}" for ours, theirs in names.items()}


# Llama's names, which most families took over.
NAMES: Names = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    **_layers(
        {
            "attn_norm": "input_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj",
            "attn_q_norm": "self_attn.q_norm",
            "attn_k_norm": "self_attn.k_norm",
            "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
            "ffn_gate_inp": "mlp.gate",
            "ffn_gate_exps": "mlp.experts.{e}.gate_proj",
            "ffn_up_exps": "mlp.experts.{e}.up_proj",
            "ffn_down_exps": "mlp.experts.{e}.down_proj",
        }
    ),
}


# Mixtral's names of experts, which others took over.
MIXTRAL_EXPERTS: Names = {
    "blk.{i}.ffn_gate_inp": "layers.{i}.block_sparse_moe.gate",
    "blk.{i}.ffn_gate_exps": "layers.{i}.block_sparse_moe.experts.{e}.w1",
    "blk.{i}.ffn_down_exps": "layers.{i}.block_sparse_moe.experts.{e}.w2",
    "blk.{i}.ffn_up_exps": "layers.{i}.block_sparse_moe.experts.{e}.w3",
}


def rope_parameters(config: Config, kind: str = "full_attention") -> dict[str, Any]:
    """What config.json says of rotary positions, in the words of transformers 5 whatever its age.

    Parameters
    ----------
    config : dict
    kind : str
        Kind of attention layer, where a model has several.
    """
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    old = {"rope_theta": config.get("rope_theta", config.get("rotary_emb_base"))}
    old["partial_rotary_factor"] = config.get("partial_rotary_factor", config.get("rotary_pct"))
    out = {key: value for key, value in old.items() if value is not None}
    out.update(found.get(kind, found) or {})
    out.setdefault("rope_type", out.get("type", "default"))
    return out


def number(*names: str) -> Callable[[Config], float | None]:
    """The first of these keys of config.json, as the floating-point number that GGUF wants."""

    def value(config: Config) -> float | None:
        found = next((config[name] for name in names if config.get(name) is not None), None)
        return None if found is None else float(found)

    return value


def windows(config: Config) -> list[bool] | None:
    """Which layers see a window only; None where config.json has no word for each."""
    kinds = config.get("layer_types")
    return [kind == "sliding_attention" for kind in kinds] if kinds and config.get("sliding_window") else None


def rope_dims(config: Config) -> int:
    """Rotated elements of a head."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return int(rope_parameters(config).get("partial_rotary_factor", 1.0) * head_dim)


def _scaling(name: str, kinds: tuple[str, ...] = ("linear", "yarn")) -> Callable[[Config], Any]:
    def value(config: Config) -> Any:
        rope = rope_parameters(config)
        found = rope.get(name) if rope["rope_type"] in kinds else None
        return float(found) if isinstance(found, (int, float)) else found

    return value


def original_context(config: Config) -> int:
    """Context length before rotary positions were stretched; the model's own where they were not."""
    found = rope_parameters(config).get("original_max_position_embeddings")
    found = found or config.get("original_max_position_embeddings") or config["max_position_embeddings"]
    return int(found)


def _yarn_context(config: Config) -> int | None:
    return original_context(config) if rope_parameters(config)["rope_type"] == "yarn" else None


# GGUF key -> key of config.json; the words of most families.
KEYS: Keys = {
    "block_count": ("num_hidden_layers", "n_layer", "num_layers"),
    "context_length": ("max_position_embeddings", "n_positions", "n_ctx"),
    "embedding_length": ("hidden_size", "n_embd", "d_model"),
    "feed_forward_length": ("intermediate_size", "n_inner", "d_ff"),
    "vocab_size": "vocab_size",
    "attention.head_count": ("num_attention_heads", "n_head", "num_heads"),
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": number("rms_norm_eps"),
    "attention.layer_norm_epsilon": number("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    "expert_count": ("num_local_experts", "num_experts", "n_routed_experts"),
    "expert_used_count": "num_experts_per_tok",
    "rope.freq_base": lambda config: number("rope_theta")(rope_parameters(config)),
    "rope.scaling.type": _scaling("rope_type"),
    "rope.scaling.factor": _scaling("factor"),
    "rope.scaling.original_context_length": _yarn_context,
    "rope.scaling.yarn_attn_factor": _scaling("attention_factor", ("yarn",)),
    "rope.scaling.yarn_beta_fast": _scaling("beta_fast", ("yarn",)),
    "rope.scaling.yarn_beta_slow": _scaling("beta_slow", ("yarn",)),
}


# ---- transforms and made tensors


def permuted(heads: str) -> Transform:
    """Rows of q or k from rotary halves to neighbours, in each of `hparams.HEADS` heads: what "norm" rotates."""

    def transform(x: Array, hp: Any) -> Array:
        return x.reshape(getattr(hp, heads), 2, -1, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)

    return transform


def transposed(x: Array, hp: Any) -> Array:
    """A matrix that is stored inputs first (GPT-2's Conv1D); a bias stays as it is."""
    return x.swapaxes(-1, -2) if x.ndim > 1 else x


def one_more(x: Array, hp: Any) -> Array:
    """w + 1: the norm of Gemma multiplies by that, and GGUF stores it so."""
    return x + np.float32(1)


def grouped_qkv(x: Array, hp: Any) -> Array:
    """q, k and v that lie side by side for each KV head (Falcon, GPT-NeoX) -> all q, all k, all v."""
    group = hp.n_head // hp.n_head_kv
    heads = x.reshape(hp.n_head_kv, group + 2, hp.head_dim, *x.shape[1:])
    parts = (heads[:, :group], heads[:, group : group + 1], heads[:, group + 1 :])
    return np.concatenate([part.reshape(-1, *x.shape[1:]) for part in parts])


def negative_exp(x: Array, hp: Any) -> Array:
    """-exp(x): the decay A of a state-space model, of which the checkpoint has the logarithm."""
    return -np.exp(x)


def in_groups(x: Array, hp: Any) -> Array:
    """A vector as `hparams.n_group` rows."""
    return x.reshape(hp.n_group, -1)


def llama3_factors(config: Config) -> Array | None:
    """Divisors of the rotary frequencies for the rope type "llama3"; None for others.

    `_compute_llama3_parameters` in transformers' modeling_rope_utils.py.
    """
    rope = rope_parameters(config)
    if rope["rope_type"] != "llama3":
        return None
    dims = rope_dims(config)
    frequency = rope["rope_theta"] ** (-np.arange(0, dims, 2, dtype=np.float64) / dims)
    turns = rope["original_max_position_embeddings"] * frequency / (2 * np.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    factors: Array = (1 / ((1 - kept) / rope["factor"] + kept)).astype(np.float32)
    return factors


def longrope_factors(name: str) -> Callable[[Config], Array | None]:
    """The short or the long divisors of longrope (https://arxiv.org/abs/2402.13753); None for other types."""

    def make(config: Config) -> Array | None:
        found = rope_parameters(config).get(name)
        return None if found is None else np.array(found, np.float32)

    return make


def longrope_attention(config: Config) -> float | None:
    """The factor on cos and sin that goes with them: `_compute_longrope_parameters` in transformers."""
    if rope_parameters(config).get("long_factor") is None:
        return None
    scale = config["max_position_embeddings"] / original_context(config)
    return math.sqrt(1 + math.log(scale) / math.log(original_context(config))) if scale > 1 else 1.0
