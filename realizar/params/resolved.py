"""ResolvedParams: sampling params with all defaults filled in, as the engine uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from realizar.params.sampling import DEFAULTS, SamplingParams

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ResolvedParams(SamplingParams):
    """Params with every field of `DEFAULTS` set; made by `resolved`."""

    temperature: float = DEFAULTS["temperature"]
    top_k: int = DEFAULTS["top_k"]
    top_p: float = DEFAULTS["top_p"]
    min_p: float = DEFAULTS["min_p"]
    repetition_penalty: float = DEFAULTS["repetition_penalty"]
    penalty_last_n: int = DEFAULTS["penalty_last_n"]
    xtc_probability: float = DEFAULTS["xtc_probability"]
    xtc_threshold: float = DEFAULTS["xtc_threshold"]
    mirostat: int = DEFAULTS["mirostat"]
    mirostat_tau: float = DEFAULTS["mirostat_tau"]
    mirostat_eta: float = DEFAULTS["mirostat_eta"]


def resolved(params: SamplingParams, defaults: Mapping[str, Any] = NOTHING) -> ResolvedParams:
    """Fill in unset fields: from the given defaults (the model file's), else from `DEFAULTS`.

    Raises
    ------
    ParameterError
        If the defaults conflict with fields that are set.
    """
    if isinstance(params, ResolvedParams):
        return params
    values = {field.name: getattr(params, field.name) for field in fields(SamplingParams)}
    for name in (*DEFAULTS, "samplers"):
        if values[name] is None:
            values[name] = defaults.get(name, DEFAULTS.get(name))
    return ResolvedParams(**values)
