"""One of a thing or several: what the calls that take both make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from typing import Any

from realizar.errors import ParameterError, shown
from realizar.params.sampling import SamplingParams

NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, Set)
"""What has items, but is no list of prompts or of token ids: bytes would pass for ids, and the rest has no order."""


def as_prompts(prompts: Any) -> list[Any]:
    """Return one prompt (text or token ids), or several, as a list of prompts."""
    if isinstance(prompts, NO_LISTS):
        return [prompts]
    try:
        items: list[Any] = list(prompts)
    except TypeError:  # no list of anything; the engine will say what a prompt is
        return [prompts]
    return [items] if all(isinstance(item, Integral) for item in items) else items


def params_of_each(params: SamplingParams | Iterable[SamplingParams], n: int) -> list[SamplingParams]:
    """Return the params of each of n prompts.

    Raises
    ------
    ParameterError
        If there are as many neither as prompts nor as one.
    """
    if isinstance(params, SamplingParams):
        return [params] * n
    try:
        each = list(params)
    except TypeError:
        raise ParameterError(f"params: SamplingParams, or a list of them, are needed; found {shown(params)}") from None
    if len(each) != n:
        raise ParameterError(f"{n} prompts, but {len(each)} params; give one for all or one for each")
    return each
