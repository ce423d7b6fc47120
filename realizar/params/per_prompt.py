"""One prompt or a list of prompts, and the params of each."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from realizar.errors import ParameterError, short_repr
from realizar.params.prompt import NO_LISTS, is_part
from realizar.params.sampling import SamplingParams


def as_prompts(prompts: Any) -> list[Any]:
    """Return one prompt or several as a list of prompts.

    A prompt is text, token ids, or a list of parts. A list with an item of type `Tokens` or `Embeddings` is one list of
    parts; a list of only texts is a list of prompts.
    """
    if isinstance(prompts, NO_LISTS):
        return [prompts]
    try:
        items: list[Any] = list(prompts)
    except TypeError:  # not iterable; the engine raises the error
        return [prompts]
    return [items] if is_parts(items) or all(isinstance(item, Integral) for item in items) else items


def is_parts(prompt: Any) -> bool:
    """Whether a prompt is a list of parts."""
    return isinstance(prompt, (list, tuple)) and any(is_part(item) for item in prompt)


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
        raise ParameterError(f"params: must be SamplingParams or a list of them, found {short_repr(params)}") from None
    if len(each) != n:
        raise ParameterError(f"{n} prompts, but {len(each)} params; pass one for all, or one for each prompt")
    return each
