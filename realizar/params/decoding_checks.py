"""Checks of the parameters that ask for several texts, or for a second prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.params.checks import as_tuple, check, check_number, is_int, is_text

if TYPE_CHECKING:
    from realizar.params.sampling import SamplingParams

MOST = 4096
"""Texts that a request may ask for; the cache, which is smaller as a rule, says how many fit."""


def check_answers(p: SamplingParams) -> None:
    """Check how many texts are written, and how many of them are returned.

    Raises
    ------
    ParameterError
        If that cannot be, or would be the same text again and again.
    """
    check(is_int(p.n) and 1 <= p.n <= MOST, "n", p.n, f"an integer in [1, {MOST}]")
    best_of = p.best_of
    check(
        best_of is None or (is_int(best_of) and p.n <= best_of <= MOST),
        "best_of",
        best_of,
        f"an integer in [n={p.n}, {MOST}] or None",
    )
    check_number("length_penalty", p.length_penalty, -10.0, 10.0, "a number in [-10, 10]")
    check_beams(p)
    several = p.n if best_of is None else best_of
    check(
        several == 1 or p.n_beams > 1 or p.temperature is None or p.temperature > 0.0,
        "n" if best_of is None else "best_of",
        several,
        "1 at temperature 0, which always takes the best token",
    )


def check_guidance(p: SamplingParams) -> None:
    """Check the second prompt and what it is for; token ids become a tuple.

    Raises
    ------
    ParameterError
        If it is no prompt, or has no effect.
    """
    check_number("cfg_scale", p.cfg_scale, 0.0, 100.0, "a number in [0, 100] (1: off)")
    prompt = p.negative_prompt
    if prompt is None:
        return
    want = "a text that UTF-8 can express, token ids, or None"
    if isinstance(prompt, str):
        check(not prompt or is_text(prompt), "negative_prompt", prompt, want)
    else:
        ids = as_tuple("negative_prompt", prompt, want)
        check(bool(ids) and all(is_int(token) for token in ids), "negative_prompt", prompt, want)
        object.__setattr__(p, "negative_prompt", ids)
    check(p.cfg_scale != 1.0, "negative_prompt", prompt, "None at cfg_scale=1, where it has no effect")


def check_beams(p: SamplingParams) -> None:
    """Check what beam search is asked for.

    Raises
    ------
    ParameterError
        If a value makes no sense, or groups would all be the same.
    """
    n, groups = p.n_beams, p.n_beam_groups
    check(is_int(n) and 1 <= n <= MOST, "n_beams", n, f"an integer in [1, {MOST}]")
    check(is_int(groups) and groups >= 1 and n % groups == 0, "n_beam_groups", groups, f"a divisor of n_beams={n}")
    check_number("diversity_penalty", p.diversity_penalty, 0.0, 1e6, "a number >= 0")
    different = groups == 1 or p.diversity_penalty > 0
    check(different, "diversity_penalty", p.diversity_penalty, f"above 0 with {groups} groups, or all were the same")
    early = p.early_stopping
    known = isinstance(early, bool) or (isinstance(early, str) and early == "never")
    check(known, "early_stopping", early, "True, False or 'never'")
    if n > 1:
        check(p.n <= n, "n", p.n, f"at most n_beams={n}, the texts that are written")
        check(p.best_of is None, "best_of", p.best_of, f"None with n_beams={n}, which are ranked as they are")
