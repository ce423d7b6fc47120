"""Rotary embedding in checkpoints: what config.json says of it as metadata and as tensors of divisors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.errors import GGUFError, short_repr

Array = npt.NDArray[Any]
Config = Mapping[str, Any]


def number(*names: str) -> Callable[[Config], float | None]:
    """The first of these keys that config.json has, as a float, which GGUF requires."""

    def value(config: Config) -> float | None:
        found = next((config[name] for name in names if config.get(name) is not None), None)
        return None if found is None else float(found)

    return value


def rope_parameters(config: Config, kind: str = "full_attention") -> dict[str, Any]:
    """The rotary parameters of config.json, under the names of transformers 5 whatever its version.

    Parameters
    ----------
    config : dict
    kind : str
        Kind of attention layer, where a model has several.

    Raises
    ------
    GGUFError
        If they are no JSON object.
    """
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, Mapping) or not isinstance(found.get(kind) or {}, Mapping):
        raise GGUFError(f"config.json: rope_parameters (rope_scaling) is {short_repr(found)}; an object is needed")
    old = {"rope_theta": config.get("rope_theta", config.get("rotary_emb_base"))}
    old["partial_rotary_factor"] = config.get("partial_rotary_factor", config.get("rotary_pct"))
    out = {key: value for key, value in old.items() if value is not None}
    out.update(found.get(kind, found) or {})
    out.setdefault("rope_type", out.get("type", "default"))
    return out


def whole_head(config: Config) -> int:
    """Elements of a head, in families that rotate all of them whatever config.json says of a part."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rope_dims(config: Config, default: float = 1.0, kind: str = "full_attention") -> int:
    """Rotated dimensions of a head in layers of this kind; `default` is their share if config.json does not say it."""
    return int(rope_parameters(config, kind).get("partial_rotary_factor", default) * whole_head(config))


def half_rope_dims(config: Config) -> int:
    """Rotated dimensions of a head; by default half of it."""
    return rope_dims(config, 0.5)


def quarter_rope_dims(config: Config) -> int:
    """Rotated dimensions of a head; by default a quarter of it."""
    return rope_dims(config, 0.25)


def original_context(config: Config) -> int:
    """Context length before rope scaling; the model's own where there is none."""
    found = rope_parameters(config).get("original_max_position_embeddings")
    found = found or config.get("original_max_position_embeddings") or config["max_position_embeddings"]
    return int(found)


def _scaling(name: str, kinds: tuple[str, ...] = ("linear", "yarn")) -> Callable[[Config], Any]:
    def value(config: Config) -> Any:
        rope = rope_parameters(config)
        found = rope.get(name) if rope["rope_type"] in kinds else None
        return float(found) if isinstance(found, (int, float)) else found

    return value


def _yarn_scale(config: Config) -> float:
    """The factor of the context; without one, the ratio of the model's context to the original one."""
    rope = rope_parameters(config)
    return float(rope.get("factor") or config["max_position_embeddings"] / original_context(config))


def _factor(config: Config) -> float | None:
    return _yarn_scale(config) if rope_parameters(config)["rope_type"] == "yarn" else _scaling("factor")(config)


def yarn_factor(usual: Callable[[Config, float], float]) -> Callable[[Config], float | None]:
    """YaRN's factor on cos and sin, unless it is the usual one: a function of config.json and a tenth of ln(factor).

    `_compute_yarn_parameters` in transformers' modeling_rope_utils.py.
    """

    def factor(config: Config) -> float | None:
        rope = rope_parameters(config)
        if rope["rope_type"] != "yarn":
            return None
        stretch = 0.1 * math.log(max(_yarn_scale(config), 1.0))
        found = rope.get("attention_factor")
        if found is None and rope.get("mscale") and rope.get("mscale_all_dim"):
            found = (1.0 + rope["mscale"] * stretch) / (1.0 + rope["mscale_all_dim"] * stretch)
        elif found is None:
            found = 1.0 + stretch
        return None if math.isclose(found, usual(config, stretch)) else float(found)

    return factor


def _yarn_rounds(config: Config) -> bool | None:
    """False if the range of interpolated dimensions is not rounded to whole ones, as in gpt-oss."""
    rope = rope_parameters(config)
    return False if rope["rope_type"] == "yarn" and rope.get("truncate") is False else None


def _yarn_context(config: Config) -> int | None:
    return original_context(config) if rope_parameters(config)["rope_type"] == "yarn" else None


def _dynamic_factor(config: Config) -> float | None:
    """The factor of frequencies that depend on the length of a text; not of a fixed stretch ("alpha" of Hunyuan)."""
    rope = rope_parameters(config)
    return float(rope.get("factor") or 1.0) if rope["rope_type"] == "dynamic" and not rope.get("alpha") else None


ROPE_KEYS: Mapping[str, Callable[[Config], Any]] = {
    "rope.freq_base": lambda config: number("rope_theta")(rope_parameters(config)),
    "rope.scaling.type": _scaling("rope_type"),
    "rope.scaling.factor": _factor,
    "rope.scaling.dynamic_factor": _dynamic_factor,
    "rope.scaling.original_context_length": _yarn_context,
    "rope.scaling.yarn_attn_factor": yarn_factor(lambda config, stretch: 1.0 + stretch),
    "rope.scaling.yarn_truncate": _yarn_rounds,
    "rope.scaling.yarn_beta_fast": _scaling("beta_fast", ("yarn",)),
    "rope.scaling.yarn_beta_slow": _scaling("beta_slow", ("yarn",)),
}
"""GGUF key -> its value from config.json, as in most families."""


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
    """The factor on cos and sin that belongs to them: `_compute_longrope_parameters` in transformers."""
    if rope_parameters(config).get("long_factor") is None:
        return None
    rope, original = rope_parameters(config), original_context(config)
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    scale = rope.get("factor") or config["max_position_embeddings"] / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
