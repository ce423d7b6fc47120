"""What /openapi.json says beyond the bodies that FastAPI knows: responses, streams, errors, and the parts of messages.

Responses are plain dicts (docs/decisions/0041-server.md), so their schemas are written down here; tests compare them
with what the server answers.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_ANY: Schema = {"type": "object"}


def _object(**required: Schema) -> Schema:
    """Return the schema of an object with these properties, and maybe others."""
    return {"type": "object", "properties": required, "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _one_of(*values: str | None) -> Schema:
    return {"enum": list(values)}


_OPENAI_ERROR = _object(error=_object(message=_TEXT, type=_TEXT, param=_TEXT_OR_NULL, code=_TEXT_OR_NULL))
_ANTHROPIC_ERROR = _object(type=_one_of("error"), error=_object(type=_TEXT, message=_TEXT))
_OLLAMA_ERROR = _object(error=_TEXT)

_MODEL = _object(id=_TEXT, object=_one_of("model"), created=_COUNT, owned_by=_TEXT)
_USAGE = _object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT)
_INPUT_USAGE = _object(prompt_tokens=_COUNT, total_tokens=_COUNT)
_COMPLETION = {"id": _TEXT, "created": _COUNT, "model": _TEXT, "usage": _USAGE, "system_fingerprint": _TEXT}
_CALL = _object(id=_TEXT, type=_one_of("function"), function=_object(name=_TEXT, arguments=_TEXT))
_ANSWER = _object(role=_one_of("assistant"), content=_TEXT_OR_NULL)
_ANSWER["properties"] |= {"reasoning_content": _TEXT, "tool_calls": _list(_CALL)}
_CHAT_CHOICE = _object(index=_COUNT, message=_ANSWER, finish_reason=_one_of("stop", "length", "tool_calls"))
_CHOICE = _object(index=_COUNT, text=_TEXT, finish_reason=_one_of("stop", "length"))
_RESPONSE = _object(
    id=_TEXT, object=_one_of("response"), created_at=_COUNT, model=_TEXT, output=_list(_object(id=_TEXT, type=_TEXT)),
    status=_one_of("in_progress", "completed", "incomplete", "failed"),
    usage=_object(input_tokens=_COUNT, output_tokens=_COUNT, total_tokens=_COUNT),
)  # fmt: skip
_VECTOR = _object(object=_one_of("embedding"), index=_COUNT, embedding={"anyOf": [_list(_NUMBER), _TEXT]})
_RANK = _object(index=_COUNT, relevance_score=_NUMBER)
_SCORE = _object(index=_COUNT, object=_one_of("score"), score=_NUMBER)
_MESSAGE = _object(
    id=_TEXT, type=_one_of("message"), role=_one_of("assistant"), model=_TEXT, stop_sequence=_TEXT_OR_NULL,
    content=_list(_object(type=_one_of("text", "thinking", "tool_use"))), stop_reason=_TEXT,
    usage=_object(input_tokens=_COUNT, output_tokens=_COUNT),
)  # fmt: skip
_OLLAMA = {"model": _TEXT, "created_at": {"type": "string", "format": "date-time"}, "done": {"const": True}}

RESPONSES: dict[str, Schema] = {
    "GET /health": _object(status=_one_of("ok")),
    "GET /ready": _object(status=_one_of("ready")),
    "GET /v1/models": _object(object=_one_of("list"), data=_list(_MODEL)),
    "GET /v1/models/{name}": _MODEL,
    "POST /v1/chat/completions": _object(object=_one_of("chat.completion"), choices=_list(_CHAT_CHOICE), **_COMPLETION),
    "POST /v1/completions": _object(object=_one_of("text_completion"), choices=_list(_CHOICE), **_COMPLETION),
    "POST /v1/responses": _RESPONSE,
    "POST /v1/responses/input_tokens": _object(object=_one_of("response.input_tokens"), input_tokens=_COUNT),
    "GET /v1/responses/{response_id}": _RESPONSE,
    "DELETE /v1/responses/{response_id}": _object(id=_TEXT, deleted={"const": True}),
    "GET /v1/responses/{response_id}/input_items": _object(object=_one_of("list"), data=_list(_ANY)),
    "POST /v1/embeddings": _object(object=_one_of("list"), data=_list(_VECTOR), model=_TEXT, usage=_INPUT_USAGE),
    "POST /v1/rerank": _object(id=_TEXT, model=_TEXT, results=_list(_RANK), usage=_INPUT_USAGE),
    "POST /v1/score": _object(id=_TEXT, model=_TEXT, data=_list(_SCORE), usage=_INPUT_USAGE),
    "POST /tokenize": _object(tokens={"type": "array"}, count=_COUNT, max_model_len=_COUNT),
    "POST /detokenize": _object(content=_TEXT, prompt=_TEXT),
    "POST /apply-template": _object(prompt=_TEXT),
    "GET /tokenizer_info": _object(model_max_length=_COUNT),
    "GET /props": _object(default_generation_settings=_ANY, total_slots=_COUNT, chat_template=_TEXT),
    "GET /slots": _list(_object(id=_COUNT, is_processing={"type": "boolean"})),
    "POST /infill": _ANY,
    "POST /v1/messages": _MESSAGE,
    "POST /v1/messages/count_tokens": _object(input_tokens=_COUNT),
    "POST /api/chat": _object(**_OLLAMA, message=_object(role=_one_of("assistant"), content=_TEXT)),
    "POST /api/generate": _object(**_OLLAMA, response=_TEXT),
    "POST /api/embed": _object(model=_TEXT, embeddings=_list(_list(_NUMBER)), prompt_eval_count=_COUNT),
    "GET /api/version": _object(version=_TEXT),
    "GET /api/tags": _object(models=_list(_object(name=_TEXT, model=_TEXT))),
    "GET /api/ps": _object(models=_list(_object(name=_TEXT, model=_TEXT))),
    "POST /api/show": _object(details=_ANY, model_info=_ANY),
}
"""Method and path -> schema of the JSON response; others have any JSON object."""
_EVENTS = {"text/event-stream": {"schema": _TEXT}}
_LINES = {"application/x-ndjson": {"schema": _TEXT}}
STREAMS: dict[str, Schema] = {
    **dict.fromkeys(("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/infill"), _EVENTS),
    **dict.fromkeys(("/api/chat", "/api/generate"), _LINES),
}
"""Path -> media type of the response if the body has `stream`."""
_TEXTS = {"/metrics": "text/plain"}

_CONTENT: Schema = {"anyOf": [_TEXT, _list(_object(type=_TEXT)), {"type": "null"}]}


def _said(*roles: str) -> Schema:
    said = _object(role=_one_of(*roles))
    said["properties"]["content"] = _CONTENT
    return said


_CHAT = {
    "messages": _said("system", "developer", "user", "assistant", "tool"),
    "tools": _object(type=_one_of("function"), function=_object(name=_TEXT)),
}
_MESSAGES = {"messages": _said("user", "assistant", "system"), "tools": _object(name=_TEXT, input_schema=_ANY)}
_INPUT = {"tools": _object(type=_one_of("function"), name=_TEXT)}
ITEMS: dict[str, dict[str, Schema]] = {
    "ChatRequest": _CHAT, "TemplateRequest": _CHAT, "ChatBody": _CHAT,
    "MessagesRequest": _MESSAGES, "CountRequest": _MESSAGES, "ResponseRequest": _INPUT, "InputRequest": _INPUT,
}  # fmt: skip
"""Body -> the elements of its lists, which the endpoints check by themselves."""


class App(FastAPI):
    """The application, with a complete /openapi.json."""

    def openapi(self) -> dict[str, Any]:
        """Return the description of all endpoints; it is made once."""
        if self.openapi_schema is None:
            _complete(super().openapi())
        return super().openapi()


def _complete(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            operation["responses"] = _responses(f"{method.upper()} {path}", path)
    schemas = described["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # the errors are ours
        schemas.pop(name, None)
    for body, lists in ITEMS.items():
        for name, items in lists.items():
            field = schemas[body]["properties"][name]
            next(kind for kind in (field, *field.get("anyOf", ())) if kind.get("type") == "array")["items"] = items


def _responses(operation: str, path: str) -> dict[str, Any]:
    if path in _TEXTS:
        content: dict[str, Any] = {_TEXTS[path]: {"schema": _TEXT}}
    else:
        content = {"application/json": {"schema": RESPONSES.get(operation, _ANY)}, **STREAMS.get(path, {})}
    error = {"application/json": {"schema": _error(path)}}
    return {
        "200": {"description": "The answer.", "content": content},
        "4XX": {"description": "The request is wrong, or may not be answered now.", "content": error},
        "5XX": {"description": "The server loads, shuts down or failed.", "content": error},
    }


def _error(path: str) -> Schema:
    if path.startswith("/v1/messages"):
        return _ANTHROPIC_ERROR
    return _OLLAMA_ERROR if path.startswith("/api/") else _OPENAI_ERROR
