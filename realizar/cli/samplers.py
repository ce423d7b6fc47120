"""The options of the samplers that are off by default, and what their texts mean."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from typer import Option

from realizar.errors import ParameterError, shown
from realizar.params import SamplingParams
from realizar.params.sampling import DEFAULTS

_NUMBERS = {
    "penalty_last_n": "Tokens that the penalties look at; -1: all.",
    "typical_p": "Keep the tokens nearest to the expected surprise up to this probability.",
    "tfs_z": "Tail-free: cut where this share of the curvature is reached.",
    "top_a": "Keep tokens of this times the square of the best probability.",
    "top_n_sigma": "Keep tokens within so many standard deviations of the best logit.",
    "epsilon_cutoff": "Keep tokens of at least this probability.",
    "eta_cutoff": "The same, less strict where much is possible.",
    "xtc_probability": "How often to leave out all likely tokens but one.",
    "xtc_threshold": "From which probability on a token is likely, for XTC.",
    "mirostat": "Keep the surprise near a target, by algorithm 1 or 2.",
    "mirostat_tau": "That target, in bits per token.",
    "mirostat_eta": "How fast mirostat corrects.",
    "dynatemp_range": "The temperature follows the entropy so far up and down.",
    "dynatemp_exponent": "In which way it does.",
    "smoothing_factor": "Bend the logits by the square of their distance from the best.",
    "smoothing_curve": "Above 1: by the cube, too.",
    "dry_multiplier": "Lower tokens that would lengthen a repetition; 0.8 is usual.",
    "dry_base": "How fast that grows with the repetition.",
    "dry_allowed_length": "Shorter repetitions are free.",
    "no_repeat_ngram_size": "Let no run of so many tokens be there twice.",
    "min_tokens": "Tokens to generate before the text may end.",
}
_TEXTS = {
    "dry_sequence_breakers": ("--dry-sequence-breaker", "TEXT", "No repetition goes across it; may be repeated."),
    "bad_words": ("--bad-word", "TEXT", "What the answer must not have; may be repeated."),
    "logit_bias": ("--logit-bias", "TOKEN=NUMBER", "Added to the logit of a token id; may be repeated."),
}
_ORDER = "The samplers in their order; those that are on must be among them."


def _option(kind: Any, flag: str, help: str, **more: Any) -> Any:
    return Annotated[kind, Option(flag, help=help, rich_help_panel="More samplers", **more)]


_DEFAULTS = {field.name: field.default for field in fields(SamplingParams)}


def _number(name: str, help: str) -> tuple[Any, Any]:
    flag = "--" + name.replace("_", "-")
    if name in DEFAULTS:
        return _option(type(DEFAULTS[name]) | None, flag, help, show_default=f"the file's, else {DEFAULTS[name]}"), None
    return _option(type(_DEFAULTS[name]), flag, help), _DEFAULTS[name]


SAMPLERS: dict[str, tuple[Any, Any]] = {name: _number(name, help) for name, help in _NUMBERS.items()}
"""Field of SamplingParams -> option and default; None is none given."""
SAMPLERS |= {
    name: (_option(list[str] | None, flag, help, metavar=metavar), None)
    for name, (flag, metavar, help) in _TEXTS.items()
}
SAMPLERS["samplers"] = (_option(str | None, "--samplers", _ORDER, metavar="NAME,NAME..."), None)


def read_texts(given: dict[str, Any]) -> None:
    """Make of the options that are texts what SamplingParams take, in place.

    Raises
    ------
    ParameterError
        If a bias is not TOKEN=NUMBER.
    """
    if "samplers" in given:
        given["samplers"] = tuple(name.strip() for name in given["samplers"].split(","))
    if "logit_bias" in given:
        given["logit_bias"] = tuple(map(_bias, given["logit_bias"]))


def _bias(text: str) -> tuple[int, float]:
    token, _, number = text.partition("=")
    try:
        return int(token), float(number)
    except ValueError:
        raise ParameterError(f"--logit-bias {shown(text)}: must be a token id and a number, such as 42=-1.5") from None
