"""Validation of parameters for parallel sampling, beam search and classifier-free guidance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.params.checks import as_tuple, check, check_number, is_int, is_text

if TYPE_CHECKING:
    from realizar.params.sampling import SamplingParams

MAX_COMPLETIONS = 4096
"""Completions per request; usually the KV cache limits them further."""


def check_completions(p: SamplingParams) -> None:
    """Validate the number of completions to generate and to return.

    Raises
    ------
    ParameterError
        If a value is invalid, or all completions would be identical.
    """
    check(is_int(p.n) and 1 <= p.n <= MAX_COMPLETIONS, "n", p.n, f"an integer in [1, {MAX_COMPLETIONS}]")
    best_of = p.best_of
    check(
        best_of is None or (is_int(best_of) and p.n <= best_of <= MAX_COMPLETIONS),
        "best_of",
        best_of,
        f"an integer in [n={p.n}, {MAX_COMPLETIONS}] or None",
    )
    check_number("length_penalty", p.length_penalty, -10.0, 10.0, "a number in [-10, 10]")
    check_beams(p)
    n_completions = p.n if best_of is None else best_of
    check(
        n_completions == 1 or p.n_beams > 1 or p.temperature is None or p.temperature > 0.0,
        "n" if best_of is None else "best_of",
        n_completions,
        "1 at temperature 0, where all completions are identical",
    )


def check_guidance(p: SamplingParams) -> None:
    """Validate the parameters of classifier-free guidance; token ids become a tuple.

    Raises
    ------
    ParameterError
        If a value is invalid, or the negative prompt has no effect.
    """
    check_number("cfg_scale", p.cfg_scale, 0.0, 100.0, "a number in [0, 100] (1: off)")
    prompt = p.negative_prompt
    if prompt is None:
        return
    want = "valid Unicode text, token ids, or None"
    if isinstance(prompt, str):
        check(not prompt or is_text(prompt), "negative_prompt", prompt, want)
    else:
        ids = as_tuple("negative_prompt", prompt, want)
        check(bool(ids) and all(is_int(token) for token in ids), "negative_prompt", prompt, want)
        object.__setattr__(p, "negative_prompt", ids)
    check(p.cfg_scale != 1.0, "negative_prompt", prompt, "None at cfg_scale=1, where it has no effect")


def check_beams(p: SamplingParams) -> None:
    """Validate the parameters of beam search.

    Raises
    ------
    ParameterError
        If a value is invalid, or all beam groups would be identical.
    """
    n, groups = p.n_beams, p.n_beam_groups
    check(is_int(n) and 1 <= n <= MAX_COMPLETIONS, "n_beams", n, f"an integer in [1, {MAX_COMPLETIONS}]")
    check(is_int(groups) and groups >= 1 and n % groups == 0, "n_beam_groups", groups, f"a divisor of n_beams={n}")
    check_number("diversity_penalty", p.diversity_penalty, 0.0, 1e6, "a number >= 0")
    is_diverse = groups == 1 or p.diversity_penalty > 0
    check(is_diverse, "diversity_penalty", p.diversity_penalty, f"above 0 with {groups} groups, else all are identical")
    early = p.early_stopping
    known = isinstance(early, bool) or (isinstance(early, str) and early == "never")
    check(known, "early_stopping", early, "True, False or 'never'")
    if n > 1:
        check(p.n <= n, "n", p.n, f"at most n_beams={n}")
        check(p.best_of is None, "best_of", p.best_of, f"None with n_beams={n}, because beam search ranks its beams")
