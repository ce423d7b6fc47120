"""Checks of the parameters that ask for several texts, or for a second prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.params.checks import check, check_number, is_int

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
    several = p.n if best_of is None else best_of
    check(
        several == 1 or p.temperature > 0.0,
        "n" if best_of is None else "best_of",
        several,
        "1 at temperature 0, which always takes the best token",
    )
