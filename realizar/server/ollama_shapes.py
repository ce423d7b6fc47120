"""Bodies of Ollama's API, and what they are in OpenAI's form."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pydantic import Field

from realizar.server.errors import ApiError
from realizar.server.fields import SAMPLER_NAMES, Body, Samplers, sampling, unranked
from realizar.server.pictures import with_base64

if TYPE_CHECKING:
    from realizar.params import SamplingParams
    from realizar.server.settings import Settings

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_MOST_S = 10 * 365 * 86400.0
"""What a longer time to keep a model becomes: ten years, whose end is a date that every client can read."""


class OllamaOptions(Samplers):  # type: ignore[misc, valid-type]
    """The options of a request; the samplers of SamplingParams are options, too. Those of loading are ignored."""

    num_predict: int | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None


class OllamaRequest(Body):
    """What all requests that use a model have."""

    model: str = Field(min_length=1)
    keep_alive: float | str | None = None


class GenerateBase(OllamaRequest):
    """What POST /api/chat and POST /api/generate have in common."""

    stream: bool = True
    format: str | dict[str, Any] | None = None
    options: OllamaOptions | None = None
    think: bool | str | None = None
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)

    @property
    def effort(self) -> str | None:
        """How much the model is to reason; None: as its template has it."""
        if isinstance(self.think, bool):
            return "medium" if self.think else "none"
        return self.think


class ChatBody(GenerateBase):
    """The body of POST /api/chat."""

    messages: list[dict[str, Any]] = Field(default_factory=list)
    tools: list[dict[str, Any]] | None = None


class GenerateBody(GenerateBase):
    """The body of POST /api/generate."""

    prompt: str = ""
    suffix: str | None = None
    system: str | None = None
    raw: bool = False
    template: str | None = None
    images: list[str] | None = None


class EmbedBody(OllamaRequest):
    """The body of POST /api/embed."""

    input: str | list[str]
    truncate: bool = True
    dimensions: int | None = Field(default=None, ge=1)

    @property
    def texts(self) -> list[str]:
        """The texts, one or several."""
        return [self.input] if isinstance(self.input, str) else self.input


def params_of(body: GenerateBase, settings: Settings) -> SamplingParams:
    """Return the params that a body asks for.

    Raises
    ------
    ApiError
        400 if a value is invalid.
    """
    options = body.options or OllamaOptions()
    n = options.num_predict
    own: dict[str, Any] = {
        "max_tokens": None if n is None or n < 0 else max(1, n), "penalty_last_n": options.repeat_last_n,
        "repetition_penalty": options.repeat_penalty, "logprobs": body.top_logprobs if body.logprobs else None,
    }  # fmt: skip
    if isinstance(body.format, dict):
        own |= {"json_schema": body.format, "lenient": True}
    elif body.format == "json":
        own["json_schema"] = {"type": "object"}
    elif body.format:
        text = f"format: must be 'json' or a JSON schema, found {body.format[:80]!r}"
        raise ApiError(400, text, "invalid_value", "format")
    if getattr(body, "tools", None):
        own["lenient"] = True
    given = options.model_dump(include=set(SAMPLER_NAMES), exclude_none=True)
    if given.get("seed", 0) < 0:
        del given["seed"]
    return unranked(sampling(Samplers(**given), settings, **own))


def openai_messages(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as OpenAI has them: calls have ids, and each result has that of its call.

    Raises
    ------
    ApiError
        400 if a message is malformed.
    """
    found: list[dict[str, Any]] = []
    pending: list[tuple[str, str]] = []  # tool, id
    n_calls = 0
    for i, message in enumerate(messages):
        content = with_base64(f"messages[{i}]", message.get("content") or "", message.get("images"))
        own: dict[str, Any] = {"role": message.get("role"), "content": content}
        if message.get("thinking"):
            own["reasoning_content"] = message["thinking"]
        calls, given = [], message.get("tool_calls") or []
        if not isinstance(given, list):
            raise ApiError(400, f"messages[{i}]: tool_calls must be a list", "invalid_value", "messages")
        for call in given:
            function = call.get("function") if isinstance(call, dict) else None
            name = function.get("name") if isinstance(function, dict) else None
            if not isinstance(name, str):
                raise ApiError(400, f"messages[{i}]: a call must have a function with a name", "invalid_value")
            call_id = f"call{n_calls:05}"  # nine letters and digits, which Mistral's templates need
            n_calls += 1
            calls.append({"id": call_id, "type": "function", "function": function})
            pending.append((name, call_id))
        if calls:
            own["tool_calls"] = calls
        if own["role"] == "tool" and pending:
            name = message.get("tool_name")
            place = next((j for j, (tool, _) in enumerate(pending) if tool == name), 0)
            own["name"], own["tool_call_id"] = pending.pop(place)
        found.append(own)
    return found


def seconds(keep_alive: float | str) -> float | None:
    """Return a duration, such as 300, "5m" or "1h30m", in seconds, at most ten years; None for ever, if it is negative.

    Raises
    ------
    ApiError
        400 if it is no duration, or not finite.
    """
    value = _parsed(keep_alive) if isinstance(keep_alive, str) else keep_alive
    if not math.isfinite(value):
        raise _invalid_duration(str(keep_alive))
    return None if value < 0 else min(value, _MOST_S)


def _parsed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    match = _DURATION.fullmatch(text)
    if match is None:
        raise _invalid_duration(text)
    value = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(match[2]))
    return -value if match[1] else value


def _invalid_duration(text: str) -> ApiError:
    message = f"keep_alive: must be seconds or a duration such as '5m', found {text[:80]!r}"
    return ApiError(400, message, "invalid_value", "keep_alive")


def timestamp(at: float) -> str:
    """Return a time in RFC 3339, in UTC."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat().replace("+00:00", "Z")
