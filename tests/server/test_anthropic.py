"""POST /v1/messages, with Anthropic's own client."""

import json

import pytest

anthropic = pytest.importorskip("anthropic", reason="needs the extra server, and anthropic")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.server.answers import Piece  # noqa: E402
from realizar.server.anthropic_messages import _Blocks  # noqa: E402
from realizar.server.anthropic_shapes import MessagesRequest, openai_messages  # noqa: E402
from tests.calls import templates  # noqa: E402
from tests.server.serving import QUESTION, SCHEMA, serving, write_model  # noqa: E402

TOOLS = [{"name": name, "description": "Of today.", "input_schema": SCHEMA} for name in ("weather", "time_of")]
GREEDY = {"model": "tiny", "messages": QUESTION, "max_tokens": 12, "temperature": 0}


@pytest.fixture
def client(server):
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as found:
        yield found


def ask(client, **changes):
    # Fields that the client has no more are the server's still.
    asked = {**GREEDY, **changes}
    extra = {name: asked.pop(name) for name in ("temperature", "top_k") if name in asked}
    return client.messages.create(**asked, extra_body={**extra, **asked.pop("extra_body", {})})


def test_a_message(client):
    message = ask(client)
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "max_tokens")
    assert message.content[0].type == "text"
    assert message.usage.output_tokens == 12
    again = ask(client)
    assert again.content == message.content
    assert again.usage.cache_read_input_tokens + again.usage.input_tokens >= message.usage.input_tokens


def test_events_come_in_order(client):
    whole = ask(client)
    events = list(ask(client, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    assert text == whole.content[0].text
    assert events[-2].delta.stop_reason == "max_tokens"
    assert events[-2].usage.output_tokens == 12
    assert events[0].message.usage.input_tokens > 10


def test_the_names_of_events(server):
    body = {**GREEDY, "max_tokens": 2, "stream": True}
    with server.http.stream("POST", "/v1/messages", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    for name, data in zip(lines[::2], lines[1::2], strict=True):
        assert name == "event: " + json.loads(data.removeprefix("data: "))["type"]


def test_a_stop_sequence(client):
    text = ask(client).content[0].text
    message = ask(client, stop_sequences=[text[4:6]])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", text[4:6])
    assert message.content[0].text == text[: text.index(text[4:6])]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "time_of"}])
def test_tools(client, choice):
    params = {"tools": TOOLS, "tool_choice": {**choice, "disable_parallel_tool_use": True}, "max_tokens": 200}
    message = ask(client, **params)
    (call,) = message.content
    assert (call.type, message.stop_reason) == ("tool_use", "tool_use")
    assert call.input["city"] in ("Paris", "Rome", "Oslo")
    events = list(ask(client, stream=True, **params))
    (start,) = [event for event in events if event.type == "content_block_start"]
    assert (start.content_block.id, start.content_block.name) == (call.id, call.name)
    pieces = [event.delta.partial_json for event in events if event.type == "content_block_delta"]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == call.input

    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    messages = [*QUESTION, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    assert ask(client, messages=messages, tools=TOOLS).usage.output_tokens > 0


def test_counting_tokens(client):
    count = client.messages.count_tokens(model="tiny", messages=QUESTION, system="Be brief.").input_tokens
    usage = ask(client, system="Be brief.").usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens
    assert client.messages.count_tokens(model="tiny", messages=QUESTION, tools=TOOLS).input_tokens > count


def test_conversations_become_those_of_openai():
    blocks = [
        {"type": "thinking", "thinking": "Let me see.", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "a1", "name": "weather", "input": {"city": "Rome"}},
    ]
    result = {"type": "tool_result", "tool_use_id": "a1", "content": "sunny"}
    body = MessagesRequest(
        max_tokens=1, system=[{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}],
        messages=[
            {"role": "user", "content": "How is it?"}, {"role": "assistant", "content": blocks},
            {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
        ],
    )  # fmt: skip
    call = {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    assert openai_messages(body) == [
        {"role": "system", "content": "Be\nbrief."},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a1", "content": "sunny", "name": "weather"},
        {"role": "user", "content": "And now?"},
    ]


def test_thoughts_are_a_block_before_the_text():
    blocks = _Blocks()
    events = [*blocks.of(Piece(0, reasoning="Hm")), *blocks.of(Piece(0, "m.", "Yes")), *blocks.stop()]
    shown = [(e["type"], e["index"], (e.get("delta") or e.get("content_block") or e)["type"]) for _, e in events]
    assert shown == [
        ("content_block_start", 0, "thinking"), ("content_block_delta", 0, "thinking_delta"),
        ("content_block_delta", 0, "thinking_delta"), ("content_block_stop", 0, "content_block_stop"),
        ("content_block_start", 1, "text"), ("content_block_delta", 1, "text_delta"),
        ("content_block_stop", 1, "content_block_stop"),
    ]  # fmt: skip


def test_thinking_blocks(tmp_path):
    """A template that opens the reasoning if it is asked for; a tiny model that never closes it."""
    think = "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"
    path = write_model(tmp_path / "thinks.gguf", templates.PLAIN + think)
    with serving(path) as server, anthropic.Anthropic(base_url=server.url, api_key="none") as client:
        asked = {**GREEDY, "model": "thinks"}
        assert [block.type for block in ask(client, **asked).content] == ["text"]
        thought = ask(client, **asked, thinking={"type": "adaptive"})
        assert [block.type for block in thought.content] == ["thinking"]
        events = list(ask(client, **asked, thinking={"type": "adaptive"}, stream=True))
        assert (
            "".join(e.delta.thinking for e in events if e.type == "content_block_delta") == thought.content[0].thinking
        )
        status, body = server.post(
            "/v1/chat/completions",
            {"messages": QUESTION, "temperature": 0, "max_tokens": 12, "reasoning_effort": "high"},
        )
        assert status == 200
        message = body["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == ("", thought.content[0].thinking)
        assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 12


@pytest.mark.parametrize(
    ("changes", "status", "kind", "text"),
    [
        ({"model": "claude"}, 404, "not_found_error", "tiny"),
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400, "invalid_request_error", "image"),
        ({"messages": [{"role": "tool", "content": "a"}]}, 400, "invalid_request_error", "role"),
        ({"messages": [{"role": "user", "content": "a b " * 600}]}, 400, "invalid_request_error", "512"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, 400, "invalid_request_error", "runs no tools"),
        ({"tool_choice": {"type": "some"}, "tools": TOOLS}, 400, "invalid_request_error", "tool_choice"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens"),
    ],
)  # fmt: skip
def test_errors(client, changes, status, kind, text):
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(client, **changes)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind
    assert text in caught.value.body["error"]["message"]


def test_keys_are_read_from_x_api_key(model_path):
    with serving(model_path, api_key="secret") as server:
        for key, works in (("secret", True), ("other", False)):
            with anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0) as client:
                if works:
                    assert ask(client).usage.output_tokens == 12
                else:
                    with pytest.raises(anthropic.AuthenticationError):
                        ask(client)
