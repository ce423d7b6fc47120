"""A budget for the size of a file, and the choice of types that costs the least within it."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from realizar.errors import ParameterError, short_repr

_UNITS = {"bpw": 1.0, "MB": 1e6, "GB": 1e9, "MIB": 2.0**20, "GIB": 2.0**30}
_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(bpw|[MG]i?B)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Budget:
    """A limit.

    Attributes
    ----------
    text : str
        As it was given.
    bits_per_weight : float | None
        Mean over the elements of all tensors.
    n_bytes : int | None
        Of the whole file: header, metadata, tensors, and the zeros between them.
    """

    text: str
    bits_per_weight: float | None = None
    n_bytes: int | None = None


@dataclass(frozen=True)
class Option:
    """A type that a tensor may get.

    Attributes
    ----------
    type : str
    n_bytes : int
    cost : float
        Divergence that it adds, in nats.
    """

    type: str
    n_bytes: int
    cost: float


def parse_budget(text: str) -> Budget:
    """Read a budget: "4.25bpw", or the size of the file as "350MB", "330MiB", "4.5GB" or "4GiB".

    Raises
    ------
    ParameterError
        If it has another form, or is zero.
    """
    found = _FORM.fullmatch(text.strip())
    number = float(found[1]) if found else 0.0
    if found is None or not number or math.isinf(number):
        raise ParameterError(
            f"budget {short_repr(text)}: must be bits per weight or the size of the file, such as 4.25bpw, 350MB or "
            "330MiB"
        )
    unit = found[2].upper()
    if unit == "BPW":
        return Budget(text, bits_per_weight=number)
    return Budget(text, n_bytes=int(number * _UNITS[unit]))


def choose(options: Sequence[Sequence[Option]], n_bytes: int) -> list[Option]:
    """Choose an option for each tensor, of the least total cost that fits.

    All begin with the smallest option. Then, again and again, the step up that saves the most cost for each byte is
    taken, along the lower convex hull of each tensor's options: as long as everything fits, this is the optimum for the
    size that is reached (Everett, "Generalized Lagrange multiplier method", 1963). A step that no longer fits is left
    out, and smaller ones are tried, so that the rest of the budget is used, too.

    Parameters
    ----------
    options : sequence of sequences of Option
        For each tensor at least one.
    n_bytes : int
        Limit of the sum; at least that of the smallest options.

    Returns
    -------
    list of Option
        In the order of the tensors; the same for the same arguments.
    """
    hulls = [_hull(each) for each in options]
    at = [0] * len(hulls)
    left = n_bytes - sum(hull[0].n_bytes for hull in hulls)
    steps = [(-_gain(hull, 0), i) for i, hull in enumerate(hulls) if len(hull) > 1]
    heapq.heapify(steps)
    while steps:
        _, i = heapq.heappop(steps)
        before, after = hulls[i][at[i] : at[i] + 2]
        if after.n_bytes - before.n_bytes > left:
            continue
        left -= after.n_bytes - before.n_bytes
        at[i] += 1
        if at[i] + 1 < len(hulls[i]):
            heapq.heappush(steps, (-_gain(hulls[i], at[i]), i))
    return [hull[j] for hull, j in zip(hulls, at, strict=True)]


def _gain(hull: Sequence[Option], i: int) -> float:
    """Return the cost that the step after option i saves for each byte."""
    return (hull[i].cost - hull[i + 1].cost) / (hull[i + 1].n_bytes - hull[i].n_bytes)


def _hull(options: Sequence[Option]) -> list[Option]:
    """Return the options that are the best for some price of a byte, smallest first."""
    hull: list[Option] = []
    for option in sorted(options, key=lambda each: (each.n_bytes, each.cost)):
        if hull and option.cost >= hull[-1].cost:
            continue
        while len(hull) > 1 and _gain(hull, len(hull) - 2) <= _gain([hull[-1], option], 0):
            hull.pop()
        hull.append(option)
    return hull
