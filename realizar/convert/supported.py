"""Checks that config.json asks for nothing that the equations of an architecture do not compute."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from realizar.arch.checkpoint import Checkpoint, Config
from realizar.arch.rope_checkpoint import rope_parameters
from realizar.errors import GGUFError, short_repr
from realizar.params.checks import is_int

PLAIN = ("default", "linear", "yarn", "mrope")
"""Rotary types that are metadata alone. "mrope" is the old name of "default" in models with positions of three axes."""

UP_TO_CONTEXT = ("dynamic", "xdrope")
"""Rotary types that equal "default" up to the model's context length, which the file has, or have a fixed stretch."""

FACTORS = {
    "llama3": "rope_freqs", "proportional": "rope_freqs", "longrope": "rope_factors_short", "su": "rope_factors_short",
}  # fmt: skip
"""Rotary types with divisors of the frequencies -> the tensor that has them."""


def check_values(name: str, config: Config, checkpoint: Checkpoint) -> None:
    """Raise a GGUFError if config.json has a value for which the equations of an architecture would be wrong.

    A flag that is null is false, as in transformers.
    """
    for key, values in checkpoint.all_only(config).items():
        if key in config and config[key] not in values and not (config[key] is None and False in values):
            known = " or ".join(short_repr(value) for value in values)
            raise GGUFError(
                f"config.json: {key} is {short_repr(config[key])}, but architecture {name} computes what "
                f"{known} means; results would be wrong"
            )


def check_rope(name: str, config: Config, declared: Collection[str]) -> None:
    """Raise a GGUFError if an architecture with these tensors does not compute a rotary type of config.json.

    Where layers with and without a window have types of their own, only those without one may be scaled.
    """
    kinds = [key for key, value in (config.get("rope_parameters") or {}).items() if isinstance(value, dict)]
    for kind in kinds or ["full_attention"]:
        found = rope_parameters(config, kind)["rope_type"]
        where = f"rope_parameters.{kind}.rope_type" if kinds else "rope_type"
        if found not in (*PLAIN, *UP_TO_CONTEXT) and FACTORS.get(str(found)) not in declared:
            raise GGUFError(
                f"config.json: {where} is {short_repr(found)}, which architecture {name} does not compute; results "
                "would be wrong"
            )
        if kind != "full_attention" and found != "default":
            raise GGUFError(
                f"config.json: {where} is {short_repr(found)}, but architecture {name} scales rotary positions only in "
                "layers with full attention; results would be wrong"
            )


def check_windows(name: str, config: Config, hp: Any) -> None:
    """Raise a GGUFError if a layer has a sliding window in config.json and none in the hyperparameters, or vice versa.

    A window as long as the context changes nothing.
    """
    kinds, size = config.get("layer_types"), config.get("sliding_window")
    if size is not None and not is_int(size):
        raise GGUFError(f"config.json: sliding_window is {short_repr(size)}; a number of tokens, or null, is needed")
    if not size or size >= hp.n_ctx_train or config.get("use_sliding_window") is False:
        return
    if not kinds:  # Qwen 2 and its descendants
        if not config.get("use_sliding_window"):
            return
        first = config.get("max_window_layers") or 0
        kinds = ["sliding_attention" if i >= first else "full_attention" for i in range(hp.n_layer)]
    windows = getattr(hp, "windows", (hp.window,) * hp.n_layer)
    for i, kind in enumerate(kinds[: hp.n_layer]):
        if (kind == "sliding_attention") != bool(windows[i]):
            computed = f"a window of {windows[i]} tokens" if windows[i] else "full attention"
            raise GGUFError(
                f"config.json: sliding_window is {size} and layer_types[{i}] is {short_repr(kind)}, but architecture "
                f"{name} computes {computed} in that layer; results would be wrong"
            )
