"""One prompt or a list of prompts, and the params of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

from realizar.errors import ParameterError, short_repr
from realizar.params.adapters import Lora
from realizar.params.prompt import NO_LISTS, Embeddings, is_part
from realizar.params.sampling import SamplingParams

_KINDS = ("prompt", "prompt_token_ids", "prompt_embeds")
"""Names of prompts in vLLM's dicts."""
_KINDS_LISTED = '"prompt" (a text), "prompt_token_ids" or "prompt_embeds"'


def as_prompts(prompts: Any) -> list[Any]:
    """Return one prompt or several as a list of prompts, which is empty for an empty list.

    A prompt is text, token ids, or a list of parts. A list with an item of type `Tokens` or `Embeddings` is one list of
    parts; a list of only texts is a list of prompts.
    """
    if isinstance(prompts, NO_LISTS):
        return [prompts]
    try:
        items: list[Any] = list(prompts)
    except TypeError:  # not iterable; the engine raises the error
        return [prompts]
    is_one = is_parts(items) or (items and all(isinstance(item, Integral) for item in items))
    return [items] if is_one else items


def is_parts(prompt: Any) -> bool:
    """Whether a prompt is a list of parts."""
    return isinstance(prompt, (list, tuple)) and any(is_part(item) for item in prompt)


def from_mapping(prompt: Any) -> Any:
    """Return a prompt that is a mapping, as vLLM has them, as text, token ids or parts; others unchanged.

    Raises
    ------
    ParameterError
        If it has none of "prompt", "prompt_token_ids" and "prompt_embeds", or names that are not supported.
    """
    if not isinstance(prompt, Mapping):
        return prompt
    given = {name: value for name, value in prompt.items() if value is not None}
    unknown = [name for name in given if name not in (*_KINDS, "cache_salt")]
    if unknown:
        raise ParameterError(f"prompt: {', '.join(map(repr, unknown))} of a dict is not supported; use {_KINDS_LISTED}")
    if "prompt_token_ids" in given:
        return given["prompt_token_ids"]
    if "prompt_embeds" in given:
        return [Embeddings(given["prompt_embeds"])]
    if not isinstance(given.get("prompt"), str):
        raise ParameterError(f"prompt: a dict must have {_KINDS_LISTED}, found {short_repr(dict(prompt))}")
    return given["prompt"]


def text_of(prompt: Any) -> str | None:
    """Return the text of a prompt; None if it is given otherwise."""
    text = prompt.get("prompt") if isinstance(prompt, Mapping) else prompt
    return text if isinstance(text, str) else None


def no_params(found: Any) -> ParameterError:
    """Return the error for something in place of SamplingParams."""
    remedy = ""
    if isinstance(found, Mapping) and all(isinstance(name, str) for name in found):
        inside = ", ".join(f"{name}={value!r}" for name, value in found.items())
        remedy = f"; write SamplingParams({inside if len(inside) <= 80 else '**params'})"
    return ParameterError(f"params: SamplingParams are needed, found {short_repr(found)}{remedy}")


def chosen_params(params: Any, sampling_params: Any, lora: Lora = None) -> Any:
    """Return the params of a call, which may be given by the name that vLLM has for them; None if not given.

    With `lora`, all of them have these adapters.

    Raises
    ------
    ParameterError
        If they are given by both names.
    """
    if params is not None and sampling_params is not None:
        raise ParameterError("params and sampling_params: both were given; sampling_params is another name of params")
    chosen = sampling_params if params is None else params
    if lora is None:
        return chosen
    if chosen is None or isinstance(chosen, SamplingParams):
        return replace(SamplingParams() if chosen is None else chosen, lora=lora)
    if isinstance(chosen, Mapping) or not isinstance(chosen, Iterable):
        raise no_params(chosen)
    return [replace(each, lora=lora) if isinstance(each, SamplingParams) else each for each in chosen]


def params_of_each(params: SamplingParams | Iterable[SamplingParams], n: int) -> list[SamplingParams]:
    """Return one SamplingParams for each of n prompts.

    Raises
    ------
    ParameterError
        If the number of params is neither n nor one.
    """
    if isinstance(params, SamplingParams):
        return [params] * n
    if isinstance(params, Mapping):
        raise no_params(params)
    try:
        each = list(params)
    except TypeError:
        raise no_params(params) from None
    if len(each) != n:
        raise ParameterError(f"{n} prompts, but {len(each)} params; pass one for all, or one for each prompt")
    return each
