"""Options of the samplers that are off by default."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from typer import Option

from realizar.errors import ParameterError, short_repr
from realizar.params import SamplingParams
from realizar.params.sampling import DEFAULTS

_NUMBERS = {
    "penalty_last_n": "Number of last tokens that penalties consider; -1: all.",
    "typical_p": "Typical sampling: keep tokens closest to the entropy up to this total probability.",
    "tfs_z": "Tail-free sampling: cut off at this share of the curvature.",
    "top_a": "Keep tokens of at least this times the square of the best probability.",
    "top_n_sigma": "Keep tokens within this many standard deviations of the best logit.",
    "epsilon_cutoff": "Keep tokens of at least this probability.",
    "eta_cutoff": "Entropy-dependent epsilon cutoff.",
    "xtc_probability": "Probability of excluding all likely tokens but the least likely.",
    "xtc_threshold": "Probability from which XTC considers a token likely.",
    "mirostat": "Keep the surprise near a target, with algorithm 1 or 2.",
    "mirostat_tau": "Target surprise in bits per token.",
    "mirostat_eta": "Learning rate of mirostat.",
    "dynatemp_range": "Range of the entropy-dependent temperature.",
    "dynatemp_exponent": "Exponent of the entropy-dependent temperature.",
    "smoothing_factor": "Transform logits by the square of their distance to the best.",
    "smoothing_curve": "Above 1: also by the cube.",
    "dry_multiplier": "Penalize tokens that would extend a repetition; typically 0.8.",
    "dry_base": "Growth of the DRY penalty with the length of the repetition.",
    "dry_allowed_length": "Shorter repetitions are not penalized.",
    "no_repeat_ngram_size": "No n-gram of this many tokens occurs twice.",
    "min_tokens": "Tokens to generate before the text may end.",
}
_TEXTS = {
    "dry_sequence_breakers": ("--dry-sequence-breaker", "TEXT", "Ends a repetition; may be repeated."),
    "bad_words": ("--bad-word", "TEXT", "String that must not occur; may be repeated."),
    "logit_bias": ("--logit-bias", "TOKEN=NUMBER", "Added to the logit of a token id; may be repeated."),
}
_ORDER = "Order of the samplers; must include all that are enabled."


def _option(kind: Any, flag: str, help: str, **more: Any) -> Any:
    return Annotated[kind, Option(flag, help=help, rich_help_panel="More samplers", **more)]


_DEFAULTS = {field.name: field.default for field in fields(SamplingParams)}


def _number(name: str, help: str) -> tuple[Any, Any]:
    flag = "--" + name.replace("_", "-")
    if name in DEFAULTS:
        return _option(type(DEFAULTS[name]) | None, flag, help, show_default=f"the file's, else {DEFAULTS[name]}"), None
    return _option(type(_DEFAULTS[name]), flag, help), _DEFAULTS[name]


SAMPLERS: dict[str, tuple[Any, Any]] = {name: _number(name, help) for name, help in _NUMBERS.items()}
"""Field of SamplingParams -> option and default."""
SAMPLERS |= {
    name: (_option(list[str] | None, flag, help, metavar=metavar), None)
    for name, (flag, metavar, help) in _TEXTS.items()
}
SAMPLERS["samplers"] = (_option(str | None, "--samplers", _ORDER, metavar="NAME,NAME..."), None)


def read_texts(values: dict[str, Any]) -> None:
    """Convert text options to the types of SamplingParams, in place.

    Raises
    ------
    ParameterError
        If a bias is not TOKEN=NUMBER.
    """
    if "samplers" in values:
        values["samplers"] = tuple(name.strip() for name in values["samplers"].split(","))
    if "logit_bias" in values:
        values["logit_bias"] = tuple(map(_bias, values["logit_bias"]))


def _bias(text: str) -> tuple[int, float]:
    token, _, number = text.partition("=")
    try:
        return int(token), float(number)
    except ValueError:
        raise ParameterError(f"--logit-bias {short_repr(text)}: must be TOKEN=NUMBER, such as 42=-1.5") from None
