"""Which samplers a request's params ask for, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realizar.arch import registry
from realizar.errors import ParameterError, shown
from realizar.params import ResolvedParams, SamplingParams
from realizar.sampling.dry import Dry
from realizar.sampling.infill import MAX_CANDIDATES, Infill
from realizar.sampling.mirostat import Mirostat, MirostatV2
from realizar.sampling.penalties import Penalties
from realizar.sampling.rules import (
    AllowedTokens,
    BadWords,
    Healing,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    SuppressedTokens,
)
from realizar.sampling.sampler import Branching, Learner, Sampler
from realizar.sampling.setting import Setting
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP
from realizar.sampling.xtc import Xtc

BatchFunction = Callable[[NDArray[np.float32], list[NDArray[np.int32]]], None]
"""Changes logits [n, n_vocab] in place; row i is of the sequence with the i-th of these histories."""
_NEUTRAL = {field.name: field.default for field in fields(ResolvedParams)}


class Kind(NamedTuple):
    """A sampler by name: the params that switch it on, and how it is made of them."""

    switches: tuple[str, ...]
    make: Callable[[ResolvedParams, Setting], Sampler]

    def is_on(self, params: ResolvedParams) -> bool:
        """Whether one of the switches is not neutral."""
        return any(getattr(params, name) != _NEUTRAL[name] for name in self.switches)


def _temperature(p: ResolvedParams, _: Setting) -> Sampler:
    if p.temperature == 0.0:
        return Greedy()
    if p.dynatemp_range:
        return DynamicTemperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent)
    return Temperature(p.temperature)


def _allowed(p: ResolvedParams, setting: Setting) -> Sampler:
    ids = p.allowed_token_ids or ()
    setting.check("allowed_token_ids", ids)
    return AllowedTokens(ids)


def _bias(p: ResolvedParams, setting: Setting) -> Sampler:
    setting.check("logit_bias", tuple(token for token, _ in p.logit_bias))
    return LogitBias(p.logit_bias)


def _mirostat(p: ResolvedParams, _: Setting) -> Sampler:
    return (Mirostat if p.mirostat == 1 else MirostatV2)(p.mirostat_tau, p.mirostat_eta)


def _dry(p: ResolvedParams, setting: Setting) -> Sampler:
    words = p.dry_sequence_breakers
    breakers = setting.texts("dry_sequence_breakers").breakers(words) if words else {}
    return Dry(p.dry_multiplier, p.dry_base, p.dry_allowed_length, breakers, setting.n_vocab)


def _infill(p: ResolvedParams, setting: Setting) -> Sampler:
    until = setting.n_prompt + p.min_tokens if p.min_tokens else 0
    return Infill(setting.texts("infill"), setting.end_ids, until)


# They hold whatever the order of the others is, and come before them.
RULES: dict[str, Kind] = {
    "token_healing": Kind(
        ("token_healing",), lambda p, setting: Healing(setting.n_prompt, setting.known, setting.texts("token_healing"))
    ),
    "constraint": Kind(("grammar", "json_schema", "regex", "choice"), lambda p, setting: setting.constraint(p)),
    "allowed_token_ids": Kind(("allowed_token_ids",), _allowed),
    "bad_words": Kind(("bad_words",), lambda p, setting: BadWords(p.bad_words, setting.texts("bad_words"))),
    "no_repeat_ngram": Kind(("no_repeat_ngram_size",), lambda p, _: NoRepeatNgram(p.no_repeat_ngram_size)),
    "min_tokens": Kind(
        ("min_tokens",), lambda p, setting: MinTokens(setting.n_prompt + p.min_tokens, tuple(sorted(setting.end_ids)))
    ),
    "logit_bias": Kind(("logit_bias",), _bias),
}
# In the order of llama.cpp; what it does not have stands beside its kin.
KINDS: dict[str, Kind] = {
    "penalties": Kind(
        ("repetition_penalty", "presence_penalty", "frequency_penalty"),
        lambda p, _: Penalties(p.repetition_penalty, p.presence_penalty, p.frequency_penalty, p.penalty_last_n),
    ),
    "dry": Kind(("dry_multiplier",), _dry),
    "top_n_sigma": Kind(("top_n_sigma",), lambda p, _: TopNSigma(p.top_n_sigma)),
    "top_k": Kind(("top_k",), lambda p, _: TopK(p.top_k)),
    "tfs_z": Kind(("tfs_z",), lambda p, _: TailFree(p.tfs_z)),
    "typical_p": Kind(("typical_p",), lambda p, _: TypicalP(p.typical_p)),
    "top_p": Kind(("top_p",), lambda p, _: TopP(p.top_p)),
    "min_p": Kind(("min_p",), lambda p, _: MinP(p.min_p)),
    "top_a": Kind(("top_a",), lambda p, _: TopA(p.top_a)),
    "epsilon_cutoff": Kind(("epsilon_cutoff",), lambda p, _: Epsilon(p.epsilon_cutoff)),
    "eta_cutoff": Kind(("eta_cutoff",), lambda p, _: Eta(p.eta_cutoff)),
    "smoothing": Kind(("smoothing_factor",), lambda p, _: Quadratic(p.smoothing_factor, p.smoothing_curve)),
    "xtc": Kind(("xtc_probability",), lambda p, _: Xtc(p.xtc_probability, p.xtc_threshold)),
    "temperature": Kind(("temperature", "dynatemp_range"), _temperature),
    "mirostat": Kind(
        ("mirostat",), lambda p, _: (Mirostat, MirostatV2)[p.mirostat - 1](p.mirostat_tau, p.mirostat_eta)
    ),
}
# No parameter switches these on; they are there where `samplers` names them.
NAMED: dict[str, Kind] = {"infill": Kind((), _infill)}
_BEFORE_GREEDY = ("penalties", "dry")
TRUNCATION = frozenset(
    ("top_n_sigma", "top_k", "tfs_z", "typical_p", "top_p", "min_p", "top_a", "epsilon_cutoff", "eta_cutoff")
)
ONLY_DRAWN = frozenset(KINDS) - frozenset(_BEFORE_GREEDY)
"""Those that make no difference at temperature 0, or would choose by chance."""


def batch_functions(params: SamplingParams) -> tuple[BatchFunction, ...]:
    """Return the functions over a batch's logits among `params.samplers`; the engine runs them before any chain."""
    return tuple(item for item in params.samplers or () if callable(item))


def samplers(params: ResolvedParams, setting: Setting) -> list[Sampler]:
    """Return the samplers that are switched on: the rules, then the others in the order of the params or of `KINDS`.

    At temperature 0 the choice is greedy behind those that can change which candidate is the best, and behind the
    truncation in front of `infill`, which goes by what that leaves. Beam search ranks what those leave that are not of
    `ONLY_DRAWN`.

    Raises
    ------
    ParameterError
        If `params.samplers` names one that there is not, or leaves one out that other params switch on; if the
        params name a token that there is not; or if beams are asked for beside what has no part in it.
    GrammarError, OutOfTimeError
        As `ConstraintFactory.from_params`.
    """
    order = tuple(KINDS) if params.samplers is None else params.samplers
    _check(params, order)
    if params.n_beams > 1:
        order = tuple(item for item in order if not isinstance(item, str) or item not in ONLY_DRAWN)
    elif params.temperature == 0.0:
        order = _greedy(order)
    first: list[Sampler] = [SuppressedTokens(setting.suppressed)] if setting.suppressed else []
    first += [kind.make(params, setting) for kind in RULES.values() if kind.is_on(params)]
    found = first + [s for item in order if (s := _made(item, params, setting)) is not None]
    if params.n_beams > 1:
        _check_beams(params, found)
    return found


def _greedy(order: tuple[str | Sampler, ...]) -> tuple[str | Sampler, ...]:
    """Return what of an order matters at temperature 0, with the greedy choice at its end."""
    n = order.index("infill") if "infill" in order else 0
    dropped = [ONLY_DRAWN - TRUNCATION if i < n else ONLY_DRAWN for i in range(len(order))]
    kept = (item for item, names in zip(order, dropped, strict=True) if not isinstance(item, str) or item not in names)
    return (*kept, "temperature")


def _made(item: str | Sampler, params: ResolvedParams, setting: Setting) -> Sampler | None:
    """Make what stands at one place of the order, or nothing where that is switched off."""
    if not isinstance(item, str):
        return None if callable(item) else item
    if item in NAMED:
        return NAMED[item].make(params, setting)
    if item in KINDS:
        return KINDS[item].make(params, setting) if KINDS[item].is_on(params) else None
    made: Sampler = registry.default().samplers[item](params, setting)
    return made


def _check_beams(params: ResolvedParams, found: list[Sampler]) -> None:
    for name in sorted(ONLY_DRAWN):
        if KINDS[name].is_on(params) and not (name == "temperature" and params.temperature == 0.0):
            switch = next(s for s in KINDS[name].switches if getattr(params, s) != _NEUTRAL[s])
            raise ParameterError(
                f"n_beams={params.n_beams}, {switch}={shown(getattr(params, switch))}: beam search draws nothing, so "
                f"{name!r} has no part in it; leave one of them out"
            )
    for sampler in found:
        if isinstance(sampler, Learner) and not isinstance(sampler, Branching):
            raise ParameterError(
                f"n_beams={params.n_beams}: {shown(sampler)} learns from what is drawn, and beam search draws nothing"
            )


def _check(params: ResolvedParams, order: tuple[str | Sampler, ...]) -> None:
    for item in order:
        if isinstance(item, str) and item not in KINDS | NAMED and item not in registry.default().samplers:
            known = ", ".join([*KINDS, *NAMED, *sorted(registry.default().samplers)])
            raise ParameterError(f"samplers: {shown(item)} is unknown; known are {known}")
    for name, kind in KINDS.items():
        if name not in order and kind.is_on(params):
            values = ", ".join(f"{switch}={shown(getattr(params, switch))}" for switch in kind.switches)
            raise ParameterError(f"samplers: {name!r} is not among them, but {values}; name it, or leave that out")
    if "infill" in order and ("top_k" not in order[: order.index("infill")] or not 0 < params.top_k <= MAX_CANDIDATES):
        raise ParameterError(
            f"samplers: 'infill' compares all candidates with each other; put 'top_k' before it, with top_k in "
            f"[1, {MAX_CANDIDATES}]; found top_k={params.top_k}"
        )
