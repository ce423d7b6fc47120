"""The fields of requests that all protocols share, and how SamplingParams are made of them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from realizar.errors import ParameterError
from realizar.params import SamplingParams
from realizar.params.adapters import MAX_SCALE
from realizar.server.errors import ApiError

if TYPE_CHECKING:
    from realizar.server.settings import Settings


class Body(BaseModel):
    """The body of a request; unknown fields are ignored, as in other servers."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())


class LoraScale(Body):
    """The scale of a LoRA adapter, by its number: llama-server's form."""

    id: int = Field(strict=True)
    scale: float = Field(ge=-MAX_SCALE, le=MAX_SCALE, strict=True)


_TYPES: dict[str, Any] = {
    "stop": str | list[str], "bad_words": str | list[str], "json_schema": dict[str, Any] | str,
    "logit_bias": dict[int, float], "samplers": list[str], "stop_token_ids": list[int], "allowed_token_ids": list[int],
    "choice": list[str], "dry_sequence_breakers": list[str], "negative_prompt": str | list[int],
    "lora": str | dict[str, Annotated[float, Field(strict=True)]] | list[LoraScale],
}  # fmt: skip
"""Fields that are given to clients as another type than that of SamplingParams."""
_NOT_FOR_CLIENTS = {"logprobs", "echo", "n", "best_of", "max_tokens", "control_vector"}
"""Fields that each protocol has in a form of its own, or not at all."""


def _sampler_fields() -> dict[str, Any]:
    hints = get_type_hints(SamplingParams)
    names = [field.name for field in fields(SamplingParams) if field.name not in _NOT_FOR_CLIENTS]
    return {name: (_TYPES.get(name, hints[name]) | None, None) for name in names}


Samplers: type[Body] = create_model("Samplers", __base__=Body, **_sampler_fields())
"""Every sampler and constraint, as a field with the name that SamplingParams has for it."""
SAMPLER_NAMES = frozenset(Samplers.model_fields)


def sampling(body: Body, settings: Settings, **own: Any) -> SamplingParams:
    """Return the params that a body asks for, within the server's limits.

    Parameters
    ----------
    body : Body
        Its fields of `Samplers` are used.
    settings : Settings
    **own
        Fields that the protocol has in a form of its own; None is the default, also of max_tokens: no limit.

    Raises
    ------
    ApiError
        400 if a value is invalid or over a limit.
    """
    given = body.model_dump(include=set(SAMPLER_NAMES), exclude_none=True)
    given |= {name: value for name, value in own.items() if value is not None}
    if isinstance(given.get("lora"), list):
        given["lora"] = scales_by_name(given["lora"], settings)
    most = settings.max_tokens
    wanted = given.get("max_tokens")
    given["max_tokens"] = most if wanted is None else wanted if most is None else min(wanted, most)
    given["max_time"] = min(given.get("max_time", settings.timeout), settings.timeout)
    for name in ("n", "best_of", "n_beams"):
        if given.get(name, 1) > settings.max_n:
            raise ApiError(400, f"{name}={given[name]}: at most {settings.max_n} here", "invalid_value", name)
    for name in ("logprobs", "prompt_logprobs"):
        if given.get(name, 0) < 0:
            raise ApiError(400, f"{name}={given[name]}: must not be negative", "invalid_value", name)
    try:
        return SamplingParams(**given)
    except ParameterError as error:
        name = str(error).partition("=")[0]
        raise ApiError(
            400, str(error), "invalid_value", name if name in SAMPLER_NAMES | _NOT_FOR_CLIENTS else None
        ) from None


def scales_by_name(scales: list[dict[str, Any]], settings: Settings) -> dict[str, float]:
    """Return name -> scale for llama-server's form: a list of the numbers of adapters with scales.

    Raises
    ------
    ApiError
        400 if there is no adapter of a number, or a number occurs twice.
    """
    names = [text.partition("=")[0] for text in settings.lora]
    ids = [scale["id"] for scale in scales]
    if len(set(ids)) < len(ids):
        raise ApiError(400, f"lora: ids {ids}: each adapter once", "invalid_value", "lora")
    for scale in scales:
        if not 0 <= scale["id"] < len(names):
            raise ApiError(400, f"lora: id {scale['id']}: there are {len(names)} adapters", "invalid_value", "lora")
    return {names[scale["id"]]: scale["scale"] for scale in scales}


def unranked(params: SamplingParams) -> SamplingParams:
    """Return the params of a protocol that has no ranked completions.

    Raises
    ------
    ApiError
        400 if they ask for beam search.
    """
    if params.is_ranked:
        raise ApiError(400, "n_beams: only in chat completions and completions", "invalid_value", "n_beams")
    return params
