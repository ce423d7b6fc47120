"""Checkpoint: maps Hugging Face checkpoints to an architecture (classes, tensor names, keys of config.json)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realizar.arch.rope_checkpoint import ROPE_KEYS
from realizar.arch.rope_checkpoint import Array as Array
from realizar.arch.rope_checkpoint import Config as Config
from realizar.arch.rope_checkpoint import half_rope_dims as half_rope_dims
from realizar.arch.rope_checkpoint import llama3_factors as llama3_factors
from realizar.arch.rope_checkpoint import longrope_attention as longrope_attention
from realizar.arch.rope_checkpoint import longrope_factors as longrope_factors
from realizar.arch.rope_checkpoint import number as number
from realizar.arch.rope_checkpoint import original_context as original_context
from realizar.arch.rope_checkpoint import quarter_rope_dims as quarter_rope_dims
from realizar.arch.rope_checkpoint import rope_dims as rope_dims
from realizar.arch.rope_checkpoint import rope_parameters as rope_parameters
from realizar.arch.rope_checkpoint import whole_head as whole_head
from realizar.arch.rope_checkpoint import yarn_factor as yarn_factor

Transform = Callable[[Array, Any], Array]
Source = str | tuple[str, Transform] | Callable[[Config], "Array | None"]
Key = str | tuple[str, ...] | Callable[[Config], Any] | None
Names = Mapping[str, Source]
Keys = Mapping[str, Key]
Values = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """What `realizar convert` needs to know of an architecture in addition to its declared tensors.

    Attributes
    ----------
    classes : tuple of str
        Values of "architectures" in config.json that denote this architecture.
    names : dict
        Tensor name of `Architecture.tensors` -> its source. A source is a name in the checkpoint, without ".weight"
        and without the base model's prefix ("model.", "transformer."); or such a name and a transform, which is called
        with the array and the hparams, also for the bias; or a function of config.json that returns a tensor or None.
        `{i}` is the layer. `{e}` is an expert; the experts are stacked. Of alternatives separated by | the first that
        exists is used. Names that are missing here come from `NAMES`. A name that ends in ".bias" is for a bias that
        is not stored next to its weight. A function of config.json may return the dict, for transforms that depend on
        it.
    keys : dict
        GGUF key without the architecture prefix (or one that begins with "tokenizer.") -> a key of config.json, several
        keys of which the first that exists is used, a function of config.json, or None to omit it. Keys that are
        missing here come from `KEYS`.
    numbers : dict
        GGUF key -> name in the checkpoint, with `{i}`, of a tensor with one number; the value is the list of those of
        all layers.
    only : dict
        Key of config.json -> the values for which the architecture's equations are right, None among them if it may
        be null. Another value is an error; a missing key is not. Keys that are missing here come from `ONLY`. A
        function of config.json may return the dict, for values that depend on others.
    applies : callable
        config.json -> whether a checkpoint of one of these classes is of this architecture, where two share a class.
    tied : callable
        config.json -> whether the output matrix is the token embedding, whatever the checkpoint contains.
    ignored : tuple of str
        Patterns of names that the checkpoint may have and that are not needed, in addition to `IGNORED`; `*` matches
        any text. Any other unused tensor is an error.
    """

    classes: tuple[str, ...]
    names: Names | Callable[[Config], Names] = field(default_factory=dict)
    keys: Keys = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    only: Values | Callable[[Config], Values] = field(default_factory=dict)
    applies: Callable[[Config], bool] = lambda config: True
    tied: Callable[[Config], bool] = lambda config: bool(config.get("tie_word_embeddings", False))
    ignored: tuple[str, ...] = ()

    def all_names(self, config: Config) -> Names:
        """The names for a checkpoint with this config.json, with those of `NAMES`."""
        return {**NAMES, **(self.names(config) if callable(self.names) else self.names)}

    def all_only(self, config: Config) -> Values:
        """The supported values for this config.json, with those of `ONLY`."""
        return {**ONLY, **(self.only(config) if callable(self.only) else self.only)}


VISION = ("*visual.*", "*vision_*", "*multi_modal_projector.*", "*connector.*", "*vqmodel.*")
"""Tensors of checkpoints that belong to a vision encoder."""
AUDIO = ("*audio_tower.*", "*multi_modal_projector.*")
"""Tensors of checkpoints that belong to a sound encoder."""

IGNORED = (
    # buffers that follow from config.json: frequencies, masks, positions
    "*.inv_freq", "*.attn.bias", "*.attention.bias", "*.masked_bias", "*.position_ids",
    # static quantization scales; activations are quantized dynamically here
    "*.input_scale", "*.k_scale", "*.v_scale",
    # image and audio encoders stored with a language model
    *VISION, *AUDIO, "*mm_projector.*",
    # multi-token prediction stored outside the layers
    "mtp.*", "model.mtp.*",
)  # fmt: skip
"""Tensors of checkpoints that no text model uses."""


GELU_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
"""transformers' names of `Graph.gelu`."""

ONLY: Values = {"hidden_act": ("silu", "swish")}
"""What most architectures compute; those with another activation say so in `Checkpoint.only`."""


def _layers(names: Mapping[str, str]) -> dict[str, Source]:
    return {f"blk.{{i}}.{ours}": f"layers.{{i}}.{theirs}" for ours, theirs in names.items()}


# Llama's names, which most families use.
NAMES: Names = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head|language_model.lm_head",
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


# dt of Mamba 2 is not clamped.
NO_STEP_LIMIT: Values = {"time_step_limit": ([0.0, math.inf], [0.0, {"__float__": "Infinity"}], None)}


# Mixtral's names of experts, which other families use.
MIXTRAL_EXPERTS: Names = {
    "blk.{i}.ffn_gate_inp": "layers.{i}.block_sparse_moe.gate",
    "blk.{i}.ffn_gate_exps": "layers.{i}.block_sparse_moe.experts.{e}.w1",
    "blk.{i}.ffn_down_exps": "layers.{i}.block_sparse_moe.experts.{e}.w2",
    "blk.{i}.ffn_up_exps": "layers.{i}.block_sparse_moe.experts.{e}.w3",
}

# DeepSeek's tensor names of experts, which other families share.
ROUTED_NAMES: Names = {
    "blk.{i}.exp_probs_b": "layers.{i}.mlp.gate.e_score_correction_bias",
    "blk.{i}.ffn_gate_shexp": "layers.{i}.mlp.shared_experts.gate_proj",
    "blk.{i}.ffn_up_shexp": "layers.{i}.mlp.shared_experts.up_proj",
    "blk.{i}.ffn_down_shexp": "layers.{i}.mlp.shared_experts.down_proj",
}


def of_text_model(*types: str) -> Callable[[Config], bool]:
    """Whether the language model of a model of pictures is of one of these types; others are known by their class."""
    return lambda config: "text_config" not in config or config.get("model_type", types[0]) in types


def leading_dense(*names: str) -> Callable[[Config], int | None]:
    """Number of leading layers without experts, from "mlp_layer_types" or else the first of these keys.

    The function raises a ValueError if one of the other layers has none either.
    """

    def count(config: Config) -> int | None:
        kinds = config.get("mlp_layer_types")
        if not kinds:
            return next((int(config[name]) for name in names if config.get(name) is not None), None)
        n = next((i for i, kind in enumerate(kinds) if kind != "dense"), len(kinds))
        if "dense" in kinds[n:]:
            raise ValueError(f"mlp_layer_types is {kinds}: only leading layers may be dense")
        return n

    return count


ROUTED_KEYS: Keys = {
    "leading_dense_block_count": leading_dense("first_k_dense_replace"),
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "expert_weights_scale": lambda config: float(config.get("routed_scaling_factor") or 1.0),
    "expert_weights_norm": lambda config: bool(config.get("norm_topk_prob")),
}


def windows(config: Config) -> list[bool] | None:
    """Which layers have sliding-window attention; None if config.json does not list them."""
    kinds = config.get("layer_types")
    return [kind == "sliding_attention" for kind in kinds] if kinds and config.get("sliding_window") else None


def uneven_windows(period: int) -> Callable[[Config], list[bool] | None]:
    """`windows`, unless all layers but every `period`-th have sliding-window attention, as without the key."""

    def flags(config: Config) -> list[bool] | None:
        found, every = windows(config), config.get("sliding_window_pattern")
        if found is None and isinstance(every, int) and every > 0:
            found = [(i + 1) % every != 0 for i in range(config["num_hidden_layers"])]
        usual = found and [(i + 1) % period != 0 for i in range(len(found))]
        return None if found == usual else found

    return flags


def class_labels(config: Config) -> list[str] | None:
    """Names of the classes of a model for classification; None for others. Two are the default of transformers."""
    if not any(name.endswith("ForSequenceClassification") for name in config["architectures"]):
        return None
    labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return [str(labels[key]) for key in sorted(labels, key=int)]


# GGUF key -> key of config.json, as in most families.
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
    **ROPE_KEYS,
}


# ---- transforms and computed tensors


def permuted(heads: str) -> Transform:
    """Rows of q or k permuted in each of `hparams.HEADS` heads, from rope style "neox" (halves) to "norm" (pairs).

    If only the first elements of a head are rotated, the others keep their order.
    """

    def transform(x: Array, hp: Any) -> Array:
        each = x.reshape(getattr(hp, heads), -1, *x.shape[1:])
        rotated, rest = each[:, : hp.rope_dims], each[:, hp.rope_dims :]
        pairs = rotated.reshape(len(each), 2, -1, *x.shape[1:]).swapaxes(1, 2).reshape(rotated.shape)
        return np.concatenate([pairs, rest], axis=1).reshape(x.shape)

    return transform


def transposed(x: Array, hp: Any) -> Array:
    """The transpose of a matrix stored as (n_in, n_out) (GPT-2's Conv1D); a bias is unchanged."""
    return x.swapaxes(-1, -2) if x.ndim > 1 else x


def one_more(x: Array, hp: Any) -> Array:
    """w + 1: Gemma's norm multiplies by it, and GGUF stores it."""
    return x + np.float32(1)


def grouped_qkv(x: Array, hp: Any) -> Array:
    """q, k and v interleaved per KV head (Falcon, GPT-NeoX) -> all q, all k, all v."""
    group = hp.n_head // hp.n_head_kv
    heads = x.reshape(hp.n_head_kv, group + 2, hp.head_dim, *x.shape[1:])
    parts = (heads[:, :group], heads[:, group : group + 1], heads[:, group + 1 :])
    return np.concatenate([part.reshape(-1, *x.shape[1:]) for part in parts])


def rows(part: int, sizes: Callable[[Any], Sequence[int]]) -> Transform:
    """Part number `part` of a tensor that has the rows of several in turn; `sizes` gives their numbers from hparams."""

    def transform(x: Array, hp: Any) -> Array:
        n = sizes(hp)
        if sum(n) != len(x):
            raise ValueError(f"{len(x)} rows, not {' + '.join(map(str, n))}")
        return x[sum(n[:part]) : sum(n[: part + 1])]

    return transform


def scaled(factor: Any, transform: Transform | None = None) -> Transform:
    """The tensor times a number, or times an array that broadcasts to it; before that another transform."""

    def multiply(x: Array, hp: Any) -> Array:
        return (x if transform is None else transform(x, hp)) * np.float32(factor)

    return multiply


def negative_exp(x: Array, hp: Any) -> Array:
    """-exp(x): the decay A of a state-space model, of which the checkpoint stores the logarithm."""
    return -np.exp(x)


def in_groups(x: Array, hp: Any) -> Array:
    """A vector reshaped to `hparams.ssm.n_group` rows."""
    return x.reshape(hp.ssm.n_group, -1)


# Checkpoints use rope style "neox" (halves), files of some architectures "norm" (pairs).
PERMUTED: Names = {
    "blk.{i}.attn_q": ("layers.{i}.self_attn.q_proj", permuted("n_head")),
    "blk.{i}.attn_k": ("layers.{i}.self_attn.k_proj", permuted("n_head_kv")),
    "rope_freqs": llama3_factors,
}
