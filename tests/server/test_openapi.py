"""/openapi.json: every operation says what it answers, and the answers are of that form."""

import jsonschema
import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.server.openapi import RESPONSES, STREAMS
from tests.server.serving import QUESTION, TOOLS

CHAT = {"model": "tiny", "messages": QUESTION, "max_tokens": 8}
BODIES = {
    "/v1/chat/completions": [CHAT, {**CHAT, "max_tokens": 200, "tools": TOOLS, "tool_choice": "required"}],
    "/v1/completions": [{"prompt": "a"}],
    "/v1/responses": [{"input": "a", "max_output_tokens": 8}],
    "/v1/responses/input_tokens": [{"input": "a"}],
    "/v1/embeddings": [{"input": "a"}, {"input": ["a", "b"], "encoding_format": "base64"}],
    "/tokenize": [{"content": "a"}, {"content": "a", "with_pieces": True}],
    "/detokenize": [{"tokens": [1]}],
    "/apply-template": [{"messages": QUESTION}],
    "/v1/messages": [CHAT],
    "/v1/messages/count_tokens": [{"messages": QUESTION}],
    "/api/chat": [{**CHAT, "stream": False, "options": {"num_predict": 8}}],
    "/api/generate": [{"model": "tiny", "prompt": "a", "stream": False, "options": {"num_predict": 8}}],
    "/api/embed": [{"model": "tiny", "input": "a"}],
    "/api/show": [{"model": "tiny"}],
}
PAGES = [
    "/health", "/ready", "/v1/models", "/tokenizer_info", "/props", "/slots", "/api/version", "/api/tags", "/api/ps"
]  # fmt: skip


@pytest.fixture(scope="module")
def described(server):
    return server.http.get("/openapi.json").json()


def schema_of(described, method, path, status="200"):
    return described["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]


def test_all_operations_have_errors_and_those_written_down_exist(described):
    found = {f"{method.upper()} {path}": o for path, ways in described["paths"].items() for method, o in ways.items()}
    assert set(RESPONSES) <= set(found)
    assert set(STREAMS) <= set(described["paths"])
    assert all(set(operation["responses"]) == {"200", "4XX", "5XX"} for operation in found.values())


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in BODIES.items() for body in bodies])
def test_answers_have_their_form(server, described, path, body):
    status, answer = server.post(path, body)
    assert status == 200
    jsonschema.validate(answer, schema_of(described, "post", path))


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_their_form(server, described, path):
    jsonschema.validate(server.http.get(path).json(), schema_of(described, "get", path))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_errors_have_their_form(server, described, path):
    status, answer = server.post(path, {**CHAT, "model": "gone"})
    assert status == 404
    jsonschema.validate(answer, schema_of(described, "post", path, "4XX"))
    assert server.post("/v1/models/", {})[0] == 405
