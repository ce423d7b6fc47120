"""Sampling defaults of a model file (general.sampling.*) and how a request uses them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from realizar.errors import ParameterError, short_repr
from realizar.params.resolved import ResolvedParams, resolved
from realizar.params.sampling import DEFAULTS, SamplingParams
from realizar.sampling.order import SAMPLERS

# Key after "general.sampling." -> field. The keys are llama.cpp's (src/llama-arch.cpp); its converters take the values
# from generation_config.json.
KEYS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "penalty_last_n": "penalty_last_n",
    "penalty_repeat": "repetition_penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
SEQUENCE = "general.sampling.sequence"
# Names in the file's sampler order -> our names.
_ALIASES = {"temp": "temperature", "typ_p": "typical_p", "typ": "typical_p", "typical": "typical_p", "nucleus": "top_p"}
# Field -> the sampler that uses it, if that has another name.
_SAMPLER = {
    "repetition_penalty": "penalties", "penalty_last_n": "penalties", "xtc_probability": "xtc", "xtc_threshold": "xtc",
    "mirostat_tau": "mirostat", "mirostat_eta": "mirostat",
}  # fmt: skip


def of_file(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's defaults for fields of SamplingParams.

    An invalid value is ignored, and a UserWarning names its key.
    """
    found: dict[str, Any] = {}
    for end, field in KEYS.items():
        key = f"general.sampling.{end}"
        if (value := metadata.get(key)) is None:
            continue
        try:
            SamplingParams(**{field: value})
        except ParameterError as error:
            warnings.warn(f"the model file's {key} is ignored: {error}; using {field}={DEFAULTS[field]}", stacklevel=2)
        else:
            found[field] = value
    if (text := metadata.get(SEQUENCE)) is not None:
        order = _sequence(text)
        if order:
            found["samplers"] = order
    return found


def _sequence(text: object) -> tuple[str, ...]:
    """Return the sampler names in a file's order, which separates them by semicolons."""
    words = [word.strip().replace("-", "_") for word in text.split(";")] if isinstance(text, str) else []
    names = [_ALIASES.get(word, word) for word in words if word]
    unknown = [name for name in names if name not in SAMPLERS]
    if unknown or not names:
        warnings.warn(f"the model file's {SEQUENCE}={short_repr(text)}: {unknown or 'it'} is ignored", stacklevel=3)
    order = tuple(dict.fromkeys(name for name in names if name in SAMPLERS))
    # llama.cpp does not list mirostat in the order: it always comes last, in place of the draw.
    return (*order, "mirostat") if order and "mirostat" not in order else order


def resolve(params: SamplingParams, file: Mapping[str, Any]) -> ResolvedParams:
    """Return params with a value for every field: the request's, else the file's, else ours.

    The file's values apply only to samplers that are in the order. The file's order applies only if it contains all
    samplers that the request switches on.

    Parameters
    ----------
    params : SamplingParams
    file : mapping
        The result of `of_file`.

    Raises
    ------
    ParameterError
        If the request's values and the file's values exclude each other.
    """
    defaults = dict(file)
    order = params.samplers
    if order is None and "samplers" in defaults:
        own = resolved(params)
        order = defaults["samplers"]
        if any(kind.is_on(own) and name not in order for name, kind in SAMPLERS.items()):
            order = None
            del defaults["samplers"]
    if order is not None:
        defaults = {k: v for k, v in defaults.items() if k == "samplers" or _SAMPLER.get(k, k) in order}
    try:
        return resolved(params, defaults)
    except ParameterError as error:
        raise ParameterError(
            f"{error}; the model file sets these defaults for unset params: {short_repr(defaults)}"
        ) from None
