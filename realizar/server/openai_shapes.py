"""Parts of OpenAI's responses that several endpoints have: ids, usage, logprobs, tool calls."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from realizar import __version__

if TYPE_CHECKING:
    from realizar.calls import ToolCall, ToolCallDelta
    from realizar.engine.token_logprobs import TokenLogprobs
    from realizar.server.answers import Usage
    from realizar.tokenizer import Tokenizer

FINGERPRINT = f"realizar-{__version__}"
"""What the bits of an answer depend on besides the request and the model: OpenAI's `system_fingerprint`."""
IMPOSSIBLE = -9999.0
"""The logprob of what cannot come: JSON has no infinity."""
_FINISH = {"tool_calls": "tool_calls", "length": "length", "context": "length", "time": "length"}


def openai_finish(reason: str) -> str:
    """Return OpenAI's finish_reason for one of Completion: what ended a text by itself is "stop"."""
    return _FINISH.get(reason, "stop")


def new_id(prefix: str) -> str:
    """Return a new id."""
    return f"{prefix}{uuid4().hex}"


def usage(found: Usage) -> dict[str, Any]:
    """Return the usage of chat completions and completions."""
    return {
        "prompt_tokens": found.n_prompt,
        "completion_tokens": found.n_generated,
        "total_tokens": found.n_prompt + found.n_generated,
        "prompt_tokens_details": {"cached_tokens": found.n_cached},
        "completion_tokens_details": {"reasoning_tokens": found.n_reasoning},
    }


def finite(logprob: float | None) -> float:
    """Return a logprob that JSON has."""
    return IMPOSSIBLE if logprob is None or not math.isfinite(logprob) else logprob


def token_logprob(tokenizer: Tokenizer, token: int, logprob: float | None) -> dict[str, Any]:
    """Return a token's text, logprob and bytes."""
    data = tokenizer.token_bytes(token)
    return {"token": data.decode(errors="replace"), "logprob": finite(logprob), "bytes": list(data)}


def chat_logprobs(
    tokenizer: Tokenizer, content: Sequence[TokenLogprobs], reasoning: Sequence[TokenLogprobs] = ()
) -> dict[str, Any]:
    """Return logprobs as chat completions have them: those of the content, and beside them those of the reasoning."""
    found: dict[str, Any] = {"content": _listed(tokenizer, content), "refusal": None}
    return {**found, "reasoning_content": _listed(tokenizer, reasoning)} if reasoning else found


def _listed(tokenizer: Tokenizer, sampled: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
    return [
        {
            **token_logprob(tokenizer, one.token_id, one.logprob),
            "top_logprobs": [token_logprob(tokenizer, *pair) for pair in one.top],
        }
        for one in sampled
    ]


def token_name(tokenizer: Tokenizer, token: int) -> str:
    r"""Return the text of a token, or if it is no text its bytes: "bytes:\xe2\x80"."""
    data = tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def completion_logprobs(
    tokenizer: Tokenizer, sampled: Sequence[TokenLogprobs | None], first_ids: Sequence[int], at: int
) -> dict[str, Any]:
    """Return logprobs as completions have them.

    Parameters
    ----------
    tokenizer : Tokenizer
    sampled : sequence of TokenLogprobs or None
        None for a token without a logprob: the first one of a prompt.
    first_ids : sequence of int
        Ids of the tokens that have none.
    at : int
        Offset of the first token in the text.
    """
    tokens, logprobs, tops, offsets = [], [], [], []
    missing = iter(first_ids)
    for one in sampled:
        name = token_name(tokenizer, next(missing) if one is None else one.token_id)
        tokens.append(name)
        offsets.append(at)
        at += len(name)
        logprobs.append(None if one is None else finite(one.logprob))
        # The chosen token is among them, though there is one more then (OpenAI's API reference, "logprobs").
        top = () if one is None else (*one.top, (one.token_id, one.logprob))
        tops.append(None if one is None else {token_name(tokenizer, i): finite(p) for i, p in top})
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def tool_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return the calls of a message."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in calls
    ]


def tool_call_delta(delta: ToolCallDelta) -> dict[str, Any]:
    """Return a piece of a call, as chunks of chat completions have it."""
    function: dict[str, Any] = {"arguments": delta.arguments}
    if delta.id is None:
        return {"index": delta.number, "function": function}
    return {"index": delta.number, "id": delta.id, "type": "function", "function": {"name": delta.name, **function}}
