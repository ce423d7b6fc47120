"""ResolvedParams: sampling params without anything unset, which is what an engine works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from realizar.params.sampling import OURS, SamplingParams

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ResolvedParams(SamplingParams):
    """Params in which every field of `OURS` is set; `resolved` makes them."""

    temperature: float = OURS["temperature"]
    top_k: int = OURS["top_k"]
    top_p: float = OURS["top_p"]
    min_p: float = OURS["min_p"]
    repetition_penalty: float = OURS["repetition_penalty"]
    penalty_last_n: int = OURS["penalty_last_n"]
    xtc_probability: float = OURS["xtc_probability"]
    xtc_threshold: float = OURS["xtc_threshold"]
    mirostat: int = OURS["mirostat"]
    mirostat_tau: float = OURS["mirostat_tau"]
    mirostat_eta: float = OURS["mirostat_eta"]


def resolved(params: SamplingParams, defaults: Mapping[str, Any] = NOTHING) -> ResolvedParams:
    """Return params with a value for every field: their own, else the defaults', else ours.

    Raises
    ------
    ParameterError
        If the defaults and what is set exclude each other.
    """
    if isinstance(params, ResolvedParams):
        return params
    values = {field.name: getattr(params, field.name) for field in fields(SamplingParams)}
    for name in (*OURS, "samplers"):
        if values[name] is None:
            values[name] = defaults.get(name, OURS.get(name))
    return ResolvedParams(**values)
