"""Which samplers a request's params ask for, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

from realizar.errors import ParameterError, shown
from realizar.params import SamplingParams
from realizar.sampling.penalties import Penalties
from realizar.sampling.sampler import Sampler
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP

_NEUTRAL = {field.name: field.default for field in fields(SamplingParams)}


class Kind(NamedTuple):
    """A sampler by name: the params that switch it on, and how it is made of them."""

    switches: tuple[str, ...]
    make: Callable[[SamplingParams], Sampler]

    def is_on(self, params: SamplingParams) -> bool:
        """Whether one of the switches is not neutral."""
        return any(getattr(params, name) != _NEUTRAL[name] for name in self.switches)


def _temperature(p: SamplingParams) -> Sampler:
    if p.temperature == 0.0:
        return Greedy()
    if p.dynatemp_range:
        return DynamicTemperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent)
    return Temperature(p.temperature)


# In the order of llama.cpp; what it does not have stands beside its kin.
KINDS: dict[str, Kind] = {
    "penalties": Kind(
        ("repetition_penalty", "presence_penalty", "frequency_penalty"),
        lambda p: Penalties(p.repetition_penalty, p.presence_penalty, p.frequency_penalty, p.penalty_last_n),
    ),
    "top_n_sigma": Kind(("top_n_sigma",), lambda p: TopNSigma(p.top_n_sigma)),
    "top_k": Kind(("top_k",), lambda p: TopK(p.top_k)),
    "tfs_z": Kind(("tfs_z",), lambda p: TailFree(p.tfs_z)),
    "typical_p": Kind(("typical_p",), lambda p: TypicalP(p.typical_p)),
    "top_p": Kind(("top_p",), lambda p: TopP(p.top_p)),
    "min_p": Kind(("min_p",), lambda p: MinP(p.min_p)),
    "top_a": Kind(("top_a",), lambda p: TopA(p.top_a)),
    "epsilon_cutoff": Kind(("epsilon_cutoff",), lambda p: Epsilon(p.epsilon_cutoff)),
    "eta_cutoff": Kind(("eta_cutoff",), lambda p: Eta(p.eta_cutoff)),
    "smoothing": Kind(("smoothing_factor",), lambda p: Quadratic(p.smoothing_factor, p.smoothing_curve)),
    "temperature": Kind(("temperature", "dynatemp_range"), _temperature),
}
BEFORE_GREEDY = ("penalties",)
"""Those that may change which candidate is the best; the others make no difference at temperature 0."""


def samplers(params: SamplingParams) -> list[Sampler]:
    """Return the samplers that are switched on, in the order of `params.samplers`, or of `KINDS`.

    At temperature 0 the choice is greedy behind those that can change which candidate is the best.

    Raises
    ------
    ParameterError
        If `params.samplers` names one that there is not, or leaves one out that other params switch on.
    """
    order = tuple(KINDS) if params.samplers is None else params.samplers
    _check(params, order)
    if params.temperature == 0.0:
        order = (*(item for item in order if item in BEFORE_GREEDY), "temperature")
    return [KINDS[name].make(params) for name in order if KINDS[name].is_on(params)]


def _check(params: SamplingParams, order: tuple[str, ...]) -> None:
    for name in order:
        if name not in KINDS:
            raise ParameterError(f"samplers: {shown(name)} is unknown; known are {', '.join(KINDS)}")
    for name, kind in KINDS.items():
        if name not in order and kind.is_on(params):
            values = ", ".join(f"{switch}={shown(getattr(params, switch))}" for switch in kind.switches)
            raise ParameterError(f"samplers: {name!r} is not among them, but {values}; name it, or leave that out")
