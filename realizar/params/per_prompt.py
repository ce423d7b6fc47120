"""One prompt or a list of prompts, and the params of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from typing import Any

from realizar.errors import ParameterError, shown
from realizar.params.sampling import SamplingParams

NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, Set)
"""Iterables that are not lists of prompts or ids: bytes would pass as ids, mappings and sets have no order."""


def as_prompts(prompts: Any) -> list[Any]:
    """Return one prompt (text or token ids) or several as a list of prompts."""
    if isinstance(prompts, NO_LISTS):
        return [prompts]
    try:
        items: list[Any] = list(prompts)
    except TypeError:  # not iterable; the engine raises the error
        return [prompts]
    return [items] if all(isinstance(item, Integral) for item in items) else items


def params_of_each(params: SamplingParams | Iterable[SamplingParams], n: int) -> list[SamplingParams]:
    """Return one SamplingParams for each of n prompts.

    Raises
    ------
    ParameterError
        If the number of params is neither n nor one.
    """
    if isinstance(params, SamplingParams):
        return [params] * n
    try:
        each = list(params)
    except TypeError:
        raise ParameterError(f"params: must be SamplingParams or a list of them, found {shown(params)}") from None
    if len(each) != n:
        raise ParameterError(f"{n} prompts, but {len(each)} params; pass one for all, or one for each prompt")
    return each
