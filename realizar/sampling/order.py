"""Makes the samplers that the params of a request switch on, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realizar.arch import registry
from realizar.errors import ParameterError, short_repr
from realizar.params import ResolvedParams, SamplingParams
from realizar.sampling.context import SamplerContext
from realizar.sampling.deprecated import with_new_names
from realizar.sampling.dry import Dry
from realizar.sampling.infill import MAX_CANDIDATES, Infill
from realizar.sampling.mirostat import Mirostat, MirostatV2
from realizar.sampling.penalties import Penalties
from realizar.sampling.sampler import ForkableSampler, Sampler, StatefulSampler
from realizar.sampling.temperature import DynamicTemperature, Greedy, Quadratic, Temperature
from realizar.sampling.token_filters import (
    AllowedTokens,
    BadWords,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    SuppressedTokens,
    TokenHealing,
)
from realizar.sampling.truncation import Epsilon, Eta, MinP, TailFree, TopA, TopK, TopNSigma, TopP, TypicalP
from realizar.sampling.xtc import Xtc

BatchLogitsProcessor = Callable[[NDArray[np.float32], list[NDArray[np.int32]]], None]
"""Changes logits [n, n_vocab] in place; row i belongs to the sequence with the i-th of these histories."""
_NEUTRAL = {field.name: field.default for field in fields(ResolvedParams)}


class SamplerKind(NamedTuple):
    """A named sampler: the params that switch it on, and the factory."""

    switches: tuple[str, ...]
    make: Callable[[ResolvedParams, SamplerContext], Sampler]

    def is_on(self, params: ResolvedParams) -> bool:
        """Whether one of the switches is not neutral."""
        return any(getattr(params, name) != _NEUTRAL[name] for name in self.switches)


def _temperature(p: ResolvedParams, _: SamplerContext) -> Sampler:
    if p.temperature == 0.0:
        return Greedy()
    if p.dynatemp_range:
        return DynamicTemperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent)
    return Temperature(p.temperature)


def _allowed(p: ResolvedParams, context: SamplerContext) -> Sampler:
    ids = p.allowed_token_ids or ()
    context.check("allowed_token_ids", ids)
    return AllowedTokens(ids)


def _bias(p: ResolvedParams, context: SamplerContext) -> Sampler:
    context.check("logit_bias", tuple(token for token, _ in p.logit_bias))
    return LogitBias(p.logit_bias)


def _token_healing(_: ResolvedParams, context: SamplerContext) -> Sampler:
    return TokenHealing(context.n_prompt, context.healed_prefix, context.need_token_bytes("token_healing"))


def _bad_words(p: ResolvedParams, context: SamplerContext) -> Sampler:
    return BadWords(p.bad_words, context.need_token_bytes("bad_words"))


def _min_tokens(p: ResolvedParams, context: SamplerContext) -> Sampler:
    return MinTokens(context.n_prompt + p.min_tokens, tuple(sorted(context.end_ids)))


def _mirostat(p: ResolvedParams, _: SamplerContext) -> Sampler:
    return (Mirostat if p.mirostat == 1 else MirostatV2)(p.mirostat_tau, p.mirostat_eta)


def _dry(p: ResolvedParams, context: SamplerContext) -> Sampler:
    words = p.dry_sequence_breakers
    breakers = context.need_token_bytes("dry_sequence_breakers").sequence_breakers(words) if words else {}
    return Dry(p.dry_multiplier, p.dry_base, p.dry_allowed_length, breakers, context.n_vocab)


def _infill(p: ResolvedParams, context: SamplerContext) -> Sampler:
    until = context.n_prompt + p.min_tokens if p.min_tokens else 0
    return Infill(context.need_token_bytes("infill"), context.end_ids, until)


# Always applied, before the other samplers, regardless of `samplers`.
TOKEN_FILTERS: dict[str, SamplerKind] = {
    "token_healing": SamplerKind(("token_healing",), _token_healing),
    "constraint": SamplerKind(("grammar", "json_schema", "regex", "choice"), lambda p, context: context.constraint(p)),
    "allowed_token_ids": SamplerKind(("allowed_token_ids",), _allowed),
    "bad_words": SamplerKind(("bad_words",), _bad_words),
    "no_repeat_ngram": SamplerKind(("no_repeat_ngram_size",), lambda p, _: NoRepeatNgram(p.no_repeat_ngram_size)),
    "min_tokens": SamplerKind(("min_tokens",), _min_tokens),
    "logit_bias": SamplerKind(("logit_bias",), _bias),
}
# The default order, which is llama.cpp's; samplers that it lacks are next to similar ones.
SAMPLERS: dict[str, SamplerKind] = {
    "penalties": SamplerKind(
        ("repetition_penalty", "presence_penalty", "frequency_penalty"),
        lambda p, _: Penalties(p.repetition_penalty, p.presence_penalty, p.frequency_penalty, p.penalty_last_n),
    ),
    "dry": SamplerKind(("dry_multiplier",), _dry),
    "top_n_sigma": SamplerKind(("top_n_sigma",), lambda p, _: TopNSigma(p.top_n_sigma)),
    "top_k": SamplerKind(("top_k",), lambda p, _: TopK(p.top_k)),
    "tfs_z": SamplerKind(("tfs_z",), lambda p, _: TailFree(p.tfs_z)),
    "typical_p": SamplerKind(("typical_p",), lambda p, _: TypicalP(p.typical_p)),
    "top_p": SamplerKind(("top_p",), lambda p, _: TopP(p.top_p)),
    "min_p": SamplerKind(("min_p",), lambda p, _: MinP(p.min_p)),
    "top_a": SamplerKind(("top_a",), lambda p, _: TopA(p.top_a)),
    "epsilon_cutoff": SamplerKind(("epsilon_cutoff",), lambda p, _: Epsilon(p.epsilon_cutoff)),
    "eta_cutoff": SamplerKind(("eta_cutoff",), lambda p, _: Eta(p.eta_cutoff)),
    "smoothing": SamplerKind(("smoothing_factor",), lambda p, _: Quadratic(p.smoothing_factor, p.smoothing_curve)),
    "xtc": SamplerKind(("xtc_probability",), lambda p, _: Xtc(p.xtc_probability, p.xtc_threshold)),
    "temperature": SamplerKind(("temperature", "dynatemp_range"), _temperature),
    "mirostat": SamplerKind(
        ("mirostat",), lambda p, _: (Mirostat, MirostatV2)[p.mirostat - 1](p.mirostat_tau, p.mirostat_eta)
    ),
}
# No parameter switches these on; they are used only if `samplers` names them.
ONLY_BY_NAME: dict[str, SamplerKind] = {"infill": SamplerKind((), _infill)}
_BEFORE_GREEDY = ("penalties", "dry")
TRUNCATION = frozenset(
    ("top_n_sigma", "top_k", "tfs_z", "typical_p", "top_p", "min_p", "top_a", "epsilon_cutoff", "eta_cutoff")
)
DRAW_ONLY = frozenset(SAMPLERS) - frozenset(_BEFORE_GREEDY)
"""Samplers without effect if tokens are not drawn: at temperature 0 and in beam search."""


def batch_logits_processors(params: SamplingParams) -> tuple[BatchLogitsProcessor, ...]:
    """Return the batch logits processors among `params.samplers`; the engine runs them before the sampler chains."""
    return tuple(item for item in params.samplers or () if callable(item))


def samplers(params: ResolvedParams, context: SamplerContext) -> list[Sampler]:
    """Return the samplers that are switched on: the token filters, then the others in the given or default order.

    At temperature 0 the last sampler is greedy; before it, only samplers that can change the best candidate are used,
    and the truncation before `infill`, whose result depends on it. Beam search does not use samplers of `DRAW_ONLY`.

    Raises
    ------
    ParameterError
        If `params.samplers` has an unknown name or lacks a sampler that other params switch on; if the params contain
        an invalid token id; or if beam search is requested together with a sampler that needs draws.
    GrammarError, OutOfTimeError
        See `ConstraintFactory.from_params`.
    """
    order = tuple(SAMPLERS) if params.samplers is None else params.samplers
    _check(params, order)
    if params.n_beams > 1:
        order = tuple(item for item in order if not isinstance(item, str) or item not in DRAW_ONLY)
    elif params.temperature == 0.0:
        order = _greedy(order)
    first: list[Sampler] = [SuppressedTokens(context.suppressed)] if context.suppressed else []
    first += [kind.make(params, context) for kind in TOKEN_FILTERS.values() if kind.is_on(params)]
    found = first + [s for item in order if (s := _make(item, params, context)) is not None]
    if params.n_beams > 1:
        _check_beams(params, found)
    return found


def _greedy(order: tuple[str | Sampler, ...]) -> tuple[str | Sampler, ...]:
    """Return the part of an order that has an effect at temperature 0, and the greedy choice."""
    n = order.index("infill") if "infill" in order else 0
    dropped = [DRAW_ONLY - TRUNCATION if i < n else DRAW_ONLY for i in range(len(order))]
    kept = (item for item, names in zip(order, dropped, strict=True) if not isinstance(item, str) or item not in names)
    return (*kept, "temperature")


def _make(item: str | Sampler, params: ResolvedParams, context: SamplerContext) -> Sampler | None:
    """Make the sampler of one item of the order; None if it is switched off or a batch logits processor."""
    if not isinstance(item, str):
        return None if callable(item) else with_new_names(item)
    if item in ONLY_BY_NAME:
        return ONLY_BY_NAME[item].make(params, context)
    if item in SAMPLERS:
        return SAMPLERS[item].make(params, context) if SAMPLERS[item].is_on(params) else None
    return with_new_names(registry.default().samplers[item](params, context))


def _check_beams(params: ResolvedParams, found: list[Sampler]) -> None:
    for name in sorted(DRAW_ONLY):
        if SAMPLERS[name].is_on(params) and not (name == "temperature" and params.temperature == 0.0):
            switch = next(s for s in SAMPLERS[name].switches if getattr(params, s) != _NEUTRAL[s])
            raise ParameterError(
                f"n_beams={params.n_beams}, {switch}={short_repr(getattr(params, switch))}: beam search does not draw "
                f"tokens, so {name!r} would have no effect; leave one of them out"
            )
    for sampler in found:
        if isinstance(sampler, StatefulSampler) and not isinstance(sampler, ForkableSampler):
            raise ParameterError(
                f"n_beams={params.n_beams}: the state of {short_repr(sampler)} depends on the tokens drawn, and beam "
                "search does not draw tokens; leave one of them out"
            )


def _check(params: ResolvedParams, order: tuple[str | Sampler, ...]) -> None:
    for item in order:
        if isinstance(item, str) and item not in SAMPLERS | ONLY_BY_NAME and item not in registry.default().samplers:
            known = ", ".join([*SAMPLERS, *ONLY_BY_NAME, *sorted(registry.default().samplers)])
            raise ParameterError(f"samplers: {short_repr(item)} is unknown; known are {known}")
    for name, kind in SAMPLERS.items():
        if name not in order and kind.is_on(params):
            values = ", ".join(f"{switch}={short_repr(getattr(params, switch))}" for switch in kind.switches)
            raise ParameterError(
                f"samplers: {name!r} is not in the list, but {values}; add it to the list, or omit the parameter"
            )
    if "infill" in order and ("top_k" not in order[: order.index("infill")] or not 0 < params.top_k <= MAX_CANDIDATES):
        raise ParameterError(
            f"samplers: 'infill' compares all candidates with each other; put 'top_k' before it, with top_k in "
            f"[1, {MAX_CANDIDATES}]; found top_k={params.top_k}"
        )
