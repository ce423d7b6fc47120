"""The grammar of a list of arguments in a fixed order, of which some may be missing."""

from __future__ import annotations

from collections.abc import Sequence


def sequence(items: Sequence[tuple[str, bool]], separator: str, others: str = "", empty: str = "") -> str:
    """Return the items of a rule.

    Parameters
    ----------
    items : sequence of (str, bool)
        The name of the rule of each argument, and whether it is required.
    separator : str
        Items of a rule between two arguments; may be empty.
    others : str
        The name of a rule of further arguments, any number of them; may be empty.
    empty : str
        Items of a rule instead of no arguments; may be empty.
    """
    more = f"({separator} {others})*" if others else ""
    starts = []
    for i, (name, is_required) in enumerate(items):
        rest = " ".join(f"{separator} {n}" if r else f"({separator} {n})?" for n, r in items[i + 1 :])
        starts.append(f"{name} {rest} {more}")
        if is_required:
            break
    else:
        starts += [f"{others} {more}"] if others else []
        starts.append(empty or '""')
    return f"({' | '.join(starts)})"
