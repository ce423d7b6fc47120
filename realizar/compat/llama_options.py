"""The options of llama-cpp-python's Llama, and the parameters of LLM that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realizar.errors import UnsupportedError, short_repr
from realizar.params.checks import is_int
from realizar.params.names import unknown_name

RANDOM_SEED = 0xFFFFFFFF
"""llama.h's LLAMA_DEFAULT_SEED: another seed for each completion."""

POOLING = {-1: None, 0: None, 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""llama.h's enum llama_pooling_type; -1 is that of the file."""
_KV_TYPES = {0: "f32", 1: "f16", 2: "q4", 8: "int8"}
"""Numbers of types in ggml.h -> ours; Q8_0 has scales of 32 elements, our int8 of a head's key or value."""

_IGNORED = frozenset(
    (
        "split_mode", "main_gpu", "tensor_split", "use_mlock", "n_ubatch", "n_threads_batch",
        "logits_all", "embedding", "offload_kqv", "flash_attn", "op_offload", "swa_full", "no_perf", "numa", "verbose",
        "mul_mat_q", "low_vram", "f16_kv",
    )
)  # fmt: skip
"""Options that only say how to compute, or ask for what is always there."""
_BY_FILE = "the file decides"
_BY_LORA = "load it with realizar.LLM.add_lora, or merge it: realizar lora merge"
_UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "vocab_only": (False, "a tokenizer alone is realizar.tokenizer.Tokenizer.from_gguf"),
    "kv_overrides": (None, _BY_FILE),
    "rope_scaling_type": (-1, _BY_FILE),
    "rope_freq_base": (0.0, _BY_FILE),
    "rope_freq_scale": (0.0, _BY_FILE),
    "yarn_ext_factor": (-1.0, _BY_FILE),
    "yarn_attn_factor": (1.0, _BY_FILE),
    "yarn_beta_fast": (32.0, _BY_FILE),
    "yarn_beta_slow": (1.0, _BY_FILE),
    "yarn_orig_ctx": (0, _BY_FILE),
    "attention_type": (-1, _BY_FILE),
    "lora_base": (None, _BY_LORA),
    "lora_scale": (1.0, _BY_LORA),
    "lora_path": (None, _BY_LORA),
    "chat_format": (None, "the chat template of the file is used; leave it out"),
    "chat_handler": (None, "the chat template of the file is used, and pictures are not read"),
    "tokenizer": (None, "the tokenizer of the file is used; leave it out"),
}
"""Options that are not supported -> the value that asks for nothing, and what to do."""


@dataclass(frozen=True)
class LlamaPromptLookupDecoding:
    """Speculative decoding by prompt lookup, for `Llama(draft_model=...)`; `LLM(speculate="ngram")`.

    Attributes
    ----------
    max_ngram_size : int
        Has no effect: the longest repetition is looked up.
    num_pred_tokens : int
        Maximum number of draft tokens.
    """

    max_ngram_size: int = 2
    num_pred_tokens: int = 10


def kv_type(name: str, value: int | None) -> str:
    """Return the type of keys or values for a number of ggml.h. Raises UnsupportedError for others."""
    if value is None:
        return "f16"
    if value not in _KV_TYPES:
        raise UnsupportedError(
            f"{name}={short_repr(value)}: must be 0 (f32), 1 (f16), 2 (q4_0, here q4) or 8 (q8_0, here int8)"
        )
    return _KV_TYPES[value]


def gpu_layers(n: int) -> dict[str, Any]:
    """Return the params of LLM for `n_gpu_layers`: like llama.cpp's, it has no effect where there is no GPU.

    Raises
    ------
    UnsupportedError
        If it is no integer.
    """
    if not is_int(n):
        raise UnsupportedError(f"n_gpu_layers={short_repr(n)}: must be an integer; -1 is all layers")
    if n == 0:
        return {}
    return {"device": "auto"} if n < 0 else {"device": "auto", "n_gpu_layers": n}


def speculation(draft_model: Any) -> dict[str, Any]:
    """Return the params of LLM for `draft_model`. Raises UnsupportedError for other draft models."""
    if draft_model is None:
        return {}
    if not isinstance(draft_model, LlamaPromptLookupDecoding):
        raise UnsupportedError(
            f"draft_model={short_repr(draft_model)}: must be a realizar.compat.LlamaPromptLookupDecoding; a smaller "
            "model is realizar.LLM(model, draft=...)"
        )
    return {"speculate": "ngram", "n_draft": draft_model.num_pred_tokens}


def check_others(options: Mapping[str, Any], known: list[str]) -> None:
    """Check the options that have no effect.

    Raises
    ------
    UnsupportedError
        If one asks for what is not supported.
    TypeError
        If there is no such option.
    """
    for name, value in options.items():
        if name in _IGNORED:
            continue
        if name not in _UNSUPPORTED:
            raise unknown_name("Llama", name, [*known, *_IGNORED, *_UNSUPPORTED])
        neutral, remedy = _UNSUPPORTED[name]
        if value != neutral and value is not None:
            raise UnsupportedError(f"Llama: {name}={short_repr(value)} is not supported: {remedy}")
