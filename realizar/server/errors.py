"""ApiError: an error as the client gets it, with its status and in the shape of the protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from realizar.errors import (
    BusyError,
    ContextFullError,
    GrammarError,
    OutOfMemoryError,
    ParameterError,
    RealizarError,
    RequestError,
    TemplateError,
    TokenizerError,
)

RETRY_AFTER_S = 1
"""Seconds after which a client may ask again where the server is busy or loading."""
_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "timeout_error", 413: "request_too_large", 429: "rate_limit_error",
    503: "overloaded_error",
}  # fmt: skip
"""Status -> Anthropic's type of error."""
_OPENAI_KINDS = {429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error"}


class ApiError(HTTPException):
    """An error of a request.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
    code : str, optional
        OpenAI's code, which programs read.
    param : str, optional
        The part of the request that is wrong.
    headers : mapping, optional
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        if headers is None and status in (429, 503):
            headers = {"Retry-After": str(RETRY_AFTER_S)}
        super().__init__(status, message, headers)
        self.code = code
        self.param = param

    @property
    def openai(self) -> dict[str, Any]:
        """The body in OpenAI's shape."""
        kind = _OPENAI_KINDS.get(self.status_code, "invalid_request_error")
        return {"error": {"message": self.detail, "type": kind, "param": self.param, "code": self.code}}

    @property
    def anthropic(self) -> dict[str, Any]:
        """The body in Anthropic's shape."""
        return {"type": "error", "error": {"type": _KINDS.get(self.status_code, "api_error"), "message": self.detail}}

    @property
    def ollama(self) -> dict[str, Any]:
        """The body in Ollama's shape."""
        return {"error": self.detail}

    def body(self, path: str) -> dict[str, Any]:
        """The body in the shape of the protocol that a path belongs to."""
        if path.startswith("/v1/messages"):
            return self.anthropic
        return self.ollama if path.startswith("/api/") else self.openai

    def response(self, path: str) -> Response:
        """The response to a request for a path. All but ASCII is escaped: messages may quote any text."""
        body = json.dumps(self.body(path)).encode()
        return Response(body, self.status_code, self.headers, "application/json")


def not_ready(is_closing: bool, progress: str = "") -> ApiError:
    """Return the error of a server that is shutting down, or has loaded its first model only so far."""
    if is_closing:
        return ApiError(503, "the server is shutting down", "shutting_down")
    return ApiError(503, f"the server is loading its first model{progress and f' ({progress})'}", "loading")


def as_api_error(error: BaseException) -> ApiError:
    """Return an exception as what the client is told; of unexpected ones it is told no details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, error.detail, headers=error.headers)
    if isinstance(error, ContextFullError):
        return ApiError(400, _overflow(error), "context_length_exceeded")
    if isinstance(error, BusyError):
        return ApiError(429, str(error), "queue_full")
    if isinstance(error, (ParameterError, GrammarError, TemplateError, TokenizerError)):
        return ApiError(400, str(error), "invalid_value")
    if isinstance(error, OutOfMemoryError):
        return ApiError(503, str(error), "out_of_memory")
    if isinstance(error, RequestError) or not isinstance(error, RealizarError):
        return ApiError(500, "the server failed; its log says why", "internal_error")
    return ApiError(503, str(error), "unavailable")


def _overflow(error: ContextFullError) -> str:
    """Return what a client is told of a prompt that is too long.

    Clients that shorten the prompt then know this error by Anthropic's words (Claude Code) or OpenAI's (litellm).
    """
    if error.n_tokens is None:
        return str(error)
    return (
        f"prompt is too long: {error.n_tokens} tokens > {error.n_ctx} maximum. "
        f"This model's maximum context length is {error.n_ctx} tokens"
    )


def invalid_body(faults: Sequence[Any]) -> ApiError:
    """Return the error of a body that pydantic rejects; only the first faults are named."""
    texts, param, code = [], None, "invalid_value"
    for fault in faults[:3]:
        place = [str(part) for part in fault["loc"] if part not in ("body", "query", "path")]
        if fault["type"] == "json_invalid":
            code = "invalid_json"
            texts.append(f"the body is not valid JSON: {fault.get('ctx', {}).get('error', 'syntax error')}")
            continue
        param = param or ".".join(place) or None
        texts.append(f"{'.'.join(place) or 'the body'}: {fault['msg']}")
    return ApiError(400, "; ".join(texts), code, param)
