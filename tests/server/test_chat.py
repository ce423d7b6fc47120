"""POST /v1/chat/completions, with OpenAI's own client."""

import json
import re

import pytest

import realizar

openai = pytest.importorskip("openai", reason="needs the extra server, and openai")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from tests.server.serving import QUESTION, SCHEMA, TOOLS  # noqa: E402

GREEDY = {"model": "tiny", "messages": QUESTION, "temperature": 0, "max_tokens": 12}


def ask(client, **changes):
    return client.chat.completions.create(**{**GREEDY, **changes})


def test_an_answer(client):
    answer = ask(client)
    (choice,) = answer.choices
    assert choice.finish_reason in ("length", "stop")
    assert choice.message.role == "assistant"
    assert answer.usage.completion_tokens == 12 or choice.finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == "tiny"
    assert answer.system_fingerprint == ask(client).system_fingerprint == f"realizar-{realizar.__version__}"


def test_a_repeated_prompt_is_cached(client):
    messages = [{"role": "user", "content": "The same text, which has some tokens. " * 3}]
    ask(client, messages=messages)
    usage = ask(client, messages=messages).usage
    assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_a_stream_is_the_answer_in_pieces(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_completions(client):
    params = {"n": 3, "temperature": 1, "seed": 5}
    whole = [choice.message.content for choice in ask(client, **params).choices]
    assert len(set(whole)) == 3
    texts = ["", "", ""]
    for chunk in ask(client, stream=True, **params):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == whole


def test_the_same_seed_gives_the_same_text(client):
    first, second = (ask(client, temperature=1, seed=7, top_p=0.9).choices[0].message.content for _ in range(2))
    assert first == second


def test_logprobs(client):
    choice = ask(client, logprobs=True, top_logprobs=3).choices[0]
    content = choice.logprobs.content
    assert len(content) == 12
    assert all(len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob for token in content)
    assert b"".join(bytes(token.bytes) for token in content).decode(errors="replace") == choice.message.content
    streamed = [c.choices[0] for c in ask(client, logprobs=True, top_logprobs=3, stream=True)]
    logprobs = [token for choice in streamed if choice.logprobs for token in choice.logprobs.content]
    assert [token.logprob for token in logprobs] == [token.logprob for token in content]


def test_a_stop_string_ends_the_text(client):
    text = ask(client).choices[0].message.content
    stop = text[4:6]
    choice = ask(client, stop=[stop]).choices[0]
    assert choice.message.content == text[: text.index(stop)]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", stop)


@pytest.mark.parametrize(
    "extra",
    [
        {"regex": "yes|no"}, {"choice": ["yes", "no"]}, {"grammar": 'root ::= "yes" | "no"'},
        {"json_schema": {"enum": ["yes", "no"]}},
    ],
)  # fmt: skip
def test_our_constraints_are_extra_fields(client, extra):
    text = ask(client, extra_body=extra).choices[0].message.content
    assert text.strip('"') in ("yes", "no")


@pytest.mark.parametrize("name", ["top_k", "min_p", "repetition_penalty", "dry_multiplier", "xtc_probability"])
def test_our_samplers_are_extra_fields(client, name):
    ask(client, extra_body={name: 1})
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body={name: -2})
    assert caught.value.param == name


def test_a_json_schema(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    text = ask(client, response_format=wanted, max_tokens=200).choices[0].message.content
    assert json.loads(text)["city"] in ("Paris", "Rome", "Oslo")


TIME_OF = {"type": "function", "function": {"name": "time_of"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME_OF]}}


@pytest.mark.parametrize("choice", ["required", TIME_OF, ALLOWED], ids=["required", "named", "allowed"])
def test_tool_calls(client, choice):
    params = {"tools": TOOLS, "tool_choice": choice, "max_tokens": 200, "parallel_tool_calls": False}
    answer = ask(client, **params).choices[0]
    (call,) = answer.message.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert answer.message.content is None
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome", "Oslo")
    assert call.function.name == "time_of" or choice == "required"

    deltas = [
        c.choices[0].delta.tool_calls[0] for c in ask(client, stream=True, **params) if c.choices[0].delta.tool_calls
    ]
    assert (deltas[0].id, deltas[0].function.name, deltas[0].index) == (call.id, call.function.name, 0)
    assert len(deltas) > 2
    assert all(delta.id is None and delta.function.name is None for delta in deltas[1:])
    assert json.loads("".join(d.function.arguments for d in deltas)) == json.loads(call.function.arguments)


def test_calls_and_results_go_into_the_next_prompt(client):
    answer = ask(client, tools=TOOLS, tool_choice="required", max_tokens=200, parallel_tool_calls=False)
    message = answer.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    messages = [*QUESTION, message.model_dump(exclude_none=True), result]
    longer = ask(client, messages=messages, tools=TOOLS)
    assert longer.usage.prompt_tokens > answer.usage.prompt_tokens


def test_parts_and_a_developer(client):
    parts = [{"type": "text", "text": "How is the"}, {"type": "text", "text": " weather?"}]
    as_parts = ask(client, messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    text = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How is the\n weather?"}]
    assert as_parts.choices[0].message.content == ask(client, messages=text).choices[0].message.content


def test_the_assistants_last_message_is_continued(client):
    text = ask(client).choices[0].message.content
    begun = text[:5]
    messages = [*QUESTION, {"role": "assistant", "content": begun}]
    rest = ask(client, messages=messages, logprobs=True)
    assert rest.usage.prompt_tokens > ask(client).usage.prompt_tokens
    as_turns = ask(client, messages=messages, extra_body={"continue_final_message": False})
    assert as_turns.usage.prompt_tokens > rest.usage.prompt_tokens


@pytest.mark.parametrize(
    ("changes", "status", "param", "text"),
    [
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": [{"role": "user"}]}, 400, None, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, None, "image"),
        ({"model": "other"}, 404, "model", "tiny"),
        ({"temperature": -1}, 400, "temperature", "must be"),
        ({"n": 1000, "temperature": 1}, 400, "n", "at most 16"),
        ({"max_tokens": 0}, 400, "max_tokens", "greater"),
        ({"messages": [{"role": "user", "content": "a b " * 600}]}, 400, None, "512"),
        ({"response_format": {"type": "xml"}}, 400, "response_format", "json_object"),
        ({"tool_choice": "required", "tools": [{"type": "function"}]}, 400, None, "tools"),
        ({"extra_body": {"grammar": "root ::= ("}}, 400, None, "grammar"),
        ({"stream": True, "extra_body": {"best_of": 2}, "temperature": 1}, 400, None, "ranked"),
    ],
)  # fmt: skip
def test_errors(client, changes, status, param, text):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **changes)
    error = caught.value
    assert error.status_code == status
    assert error.body["type"] == "invalid_request_error"
    assert text in error.body["message"]
    assert param in (None, error.param)


def test_context_errors_are_worded_as_clients_know_them(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=[{"role": "user", "content": "a b " * 600}])
    assert caught.value.code == "context_length_exceeded"
    text = caught.value.body["message"]
    assert "This model's maximum context length is 512 tokens" in text  # litellm
    assert re.match(r"prompt is too long: \d{3,} tokens > 512 maximum", text)  # Claude Code
