"""No body makes the server fail: each field of each endpoint with values of other types and forms."""

import json

import pytest

pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.server.serving import QUESTION, TOOLS

FEW = {"max_tokens": 2, "temperature": 0}
CHAT = {
    **FEW, "model": "tiny", "messages": QUESTION, "n": 1, "stop": ["a"], "tools": TOOLS, "tool_choice": "auto",
    "response_format": {"type": "text"}, "logprobs": True, "top_logprobs": 1, "logit_bias": {"5": 1}, "stream": False,
    "stream_options": {}, "chat_template_kwargs": {}, "reasoning_effort": "low", "seed": 1,
    "samplers": ["top_k", "temperature"],
    "grammar": None, "json_schema": None, "regex": None, "choice": None, "max_time": 10, "n_beams": 1,
    "negative_prompt": None, "dry_sequence_breakers": ["a"], "truncate_prompt": "left", "prompt_logprobs": None,
    "token_healing": False, "context_shift": False, "parallel_tool_calls": True, "continue_final_message": False,
}  # fmt: skip
PROMPT = {
    **FEW, "model": "tiny", "prompt": "How is", "suffix": None, "echo": False, "logprobs": 1, "best_of": 1, "n": 1,
    "prompt_logprobs": 1, "stop_token_ids": [3], "allowed_token_ids": None, "bad_words": None,
}  # fmt: skip
RESPONSE = {
    "model": "tiny", "input": "How is it?", "max_output_tokens": 2, "instructions": "a", "previous_response_id": None,
    "tools": None, "tool_choice": "auto", "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"},
    "truncation": "auto", "include": [], "metadata": {}, "store": True, "stream": False,
}  # fmt: skip
MESSAGE = {
    **FEW, "model": "tiny", "messages": QUESTION, "system": "a", "stop_sequences": ["a"], "thinking": None,
    "tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}, "output_config": {},
}  # fmt: skip
OLLAMA = {
    "model": "tiny", "stream": False, "options": {"num_predict": 2}, "format": None, "think": None, "keep_alive": None,
    "logprobs": True, "top_logprobs": 1,
}  # fmt: skip
ENDPOINTS = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": PROMPT,
    "/v1/responses": RESPONSE,
    "/v1/responses/input_tokens": RESPONSE,
    "/v1/messages": MESSAGE,
    "/v1/messages/count_tokens": MESSAGE,
    "/v1/embeddings": {"model": "tiny", "input": "a", "dimensions": 8, "encoding_format": "float"},
    "/v1/rerank": {"model": "tiny", "query": "a", "documents": ["b"], "top_n": 1, "return_documents": True},
    "/v1/score": {"model": "tiny", "text_1": "a", "text_2": ["b"]},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "input_extra": [], "n_predict": 2, "response_fields": []},
    "/tokenize": {"content": "a", "with_pieces": True, "parse_special": True},
    "/detokenize": {"tokens": [1]},
    "/apply-template": {"messages": QUESTION, "tools": TOOLS, "chat_template_kwargs": {}},
    "/api/chat": {**OLLAMA, "messages": QUESTION, "tools": TOOLS},
    "/api/generate": {**OLLAMA, "prompt": "How", "system": "a", "raw": False, "suffix": None},
    "/api/embed": {"model": "tiny", "input": ["a"], "truncate": True, "dimensions": 8},
    "/api/show": {"model": "tiny", "verbose": True},
}
NOT_OF_THIS_MODEL = {"/v1/rerank", "/v1/score", "/infill"}
VALUES = [
    None, 0, -1, 2**70, 1.5, 1e300, True, "", "x", "\x00", [], [None], [[]], [{}], ["x"], [1, "x"], [[1], ["x"]], {},
    {"x": 1}, {"type": "x"}, {"type": "function"}, {"type": "json_schema", "json_schema": 1}, [{"type": "function"}],
    [{"role": "user"}], [{"role": "assistant", "content": "a", "tool_calls": [1]}],
    [{"role": "user", "content": [{"type": "text"}]}], [{"type": "function_call"}], [{"type": "reasoning"}],
    [{"role": "user", "content": [{"type": "tool_result"}]}], [{"role": "tool", "content": "a"}],
    [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}], "content": None}],
    [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": [1]}]}],
    [{"name": "f", "input_schema": 3}], [{"type": "function", "name": 1, "parameters": []}],
    [{"role": "user", "content": []}], [{"role": "user", "content": "a", "tool_calls": 5}],
    {"type": ["x"]}, {"type": {}},
    [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": 5}]}],
]  # fmt: skip
REFUSED = [
    ("/v1/completions", {"prompt": "a", "prompt_logprobs": -1}, "prompt_logprobs=-1: must not be negative"),
    ("/v1/responses", {"input": [{"type": "reasoning"}]}, "no message"),
    ("/v1/messages", {"messages": [{"role": "user", "content": []}], "max_tokens": 1}, "no message"),
    (
        "/v1/messages",
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}], "max_tokens": 1},
        "a list of blocks",
    ),
    ("/v1/messages", {**MESSAGE, "tool_choice": {"type": ["x"]}}, "tool_choice"),
    ("/v1/messages", {**MESSAGE, "tool_choice": {"type": {}}}, "tool_choice"),
    ("/v1/messages", {**MESSAGE, "tools": None, "tool_choice": {"type": "any"}}, "no tools were given"),
    ("/v1/chat/completions", {**CHAT, "tools": [], "tool_choice": "required"}, "no tools were given"),
    ("/v1/responses", {**RESPONSE, "tool_choice": {"type": "function", "name": "f"}}, "no tools were given"),
    ("/v1/chat/completions", {**CHAT, "grammar": 'root ::= "a"', "regex": "a"}, '"param": null'),
    ("/v1/chat/completions", {**CHAT, "top_p": 7}, '"param": "top_p"'),
    (
        "/v1/chat/completions",
        {**CHAT, "tools": None, "json_schema": {"type": 5}},
        "'type'=5, at #/type: must be one of",
    ),
    ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "a", "tool_calls": 5}]}, "tool_calls"),
    ("/v1/responses", {**RESPONSE, "n_beams": 2}, "n_beams"),
    ("/v1/responses", {**RESPONSE, "n_beams": 2, "stream": True}, "n_beams"),
    ("/v1/messages", {**MESSAGE, "n_beams": 2}, "n_beams"),
    ("/v1/messages", {**MESSAGE, "n_beams": 2, "stream": True}, "n_beams"),
    ("/api/chat", {**OLLAMA, "messages": QUESTION, "options": {"n_beams": 2}}, "n_beams"),
    ("/api/generate", {**OLLAMA, "prompt": "How", "options": {"n_beams": 2}, "stream": True}, "n_beams"),
    ("/infill", {"input_prefix": "a", "n_beams": 2}, "n_beams"),
    ("/infill", {"input_prefix": "a", "n_beams": 2, "stream": True}, "n_beams"),
]
NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999", '[{"x": NaN}]', '{"y": [1.5, -1e999]}']


def fails(server, path, body):
    """Whether the server fails: by a status, or in the middle of a stream."""
    response = server.http.post(path, json=body)
    return response.status_code >= 500 or "internal_error" in response.text


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_no_body_makes_the_server_fail(server, path, stride):
    """Each field with all values, or with every fifth, others for each field."""
    body = ENDPOINTS[path]
    status, answer = server.post(path, body)
    assert status in (200, 400), answer
    assert status == 200 or path in NOT_OF_THIS_MODEL, answer
    tried = [(name, value) for i, name in enumerate(body) for value in VALUES[i % stride :: stride]]
    assert [(name, value) for name, value in tried if fails(server, path, {**body, name: value})] == []
    assert server.http.get("/health").status_code == 200


@pytest.mark.parametrize(("path", "body", "text"), REFUSED)
def test_what_is_wrong_is_told(server, path, body, text):
    response = server.http.post(path, json=body)
    assert response.status_code == 400
    assert text in response.text


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_numbers_are_finite(server, path, value):
    """Also in fields that are not known."""
    body = json.dumps({**ENDPOINTS[path], "unknown": 0}).removesuffix("0}") + value + "}"
    response = server.http.post(path, content=body)
    assert response.status_code == 400
    assert "finite" in response.text


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", "invalid_json", "not valid JSON"), (b"[" * 100_000, "invalid_json", "too many levels of nested"),
        (b'{"model":"\xff"}', "invalid_json", "'utf-8' codec"),
        (b'{"x": ' + b"1" * 5000 + b"}", "invalid_json", "digits"),
        (b"null", "invalid_value", "the body"), (b"[]", "invalid_value", "the body"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_json_is_told(server, body, code, text):
    response = server.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert text in response.json()["error"]["message"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/apply-template"])
def test_variables_that_the_template_does_not_use_are_not_warned_of(server, path):
    """A warning would write them to the log."""
    body = ENDPOINTS[path]
    assert server.post(path, {**body, "chat_template_kwargs": {"a" * 1000: 1}})[0] == 200
    for wrong in ({"a b": 1}, {"messages": []}):
        status, answer = server.post(path, {**body, "chat_template_kwargs": wrong})
        assert status == 400
        assert "cannot be set" in str(answer)
