"""The Responses API, with OpenAI's own client."""

import json

import pytest

openai = pytest.importorskip("openai", reason="needs the extra server, and openai")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar.errors import RealizarError  # noqa: E402
from realizar.server import openai_responses, responses_store  # noqa: E402
from realizar.server.errors import ApiError  # noqa: E402
from realizar.server.responses_shapes import chat_messages  # noqa: E402
from realizar.server.responses_store import ResponseStore  # noqa: E402
from tests.calls import templates  # noqa: E402
from tests.server.serving import SCHEMA, Gate, serving, write_model  # noqa: E402

QUESTION = "How is the weather in Rome?"
TOOLS = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": True} for name in ("weather", "time_of")]
GREEDY = {"model": "tiny", "input": QUESTION, "max_output_tokens": 12, "temperature": 0}


def ask(client, **changes):
    return client.responses.create(**{**GREEDY, **changes})


def test_an_answer_that_is_cut_is_incomplete(client):
    response = ask(client)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert response.usage.output_tokens == 12
    assert response.usage.total_tokens == 12 + response.usage.input_tokens
    assert response.output_text


def test_an_answer_that_ends_is_completed(client):
    wanted = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    response = ask(client, text=wanted, max_output_tokens=200)
    assert (response.status, response.incomplete_details) == ("completed", None)
    assert json.loads(response.output_text)["city"] in ("Paris", "Rome", "Oslo")


def test_every_event_has_its_number(client):
    whole = ask(client)
    events = list(ask(client, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete",
    ]  # fmt: skip
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text
    assert events[0].response.output == []


def test_the_clients_own_accumulation(client):
    with client.responses.stream(model="tiny", input=QUESTION, max_output_tokens=5, temperature=0) as stream:
        assert [event.type for event in stream][-1] == "response.incomplete"


def test_calls(client):
    params = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 200}
    response = ask(client, **params)
    (call,) = response.output
    assert (call.type, call.status, response.status) == ("function_call", "completed", "completed")
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome", "Oslo")
    events = list(ask(client, stream=True, **params))
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(deltas) > 1
    assert done.arguments == "".join(deltas)
    assert json.loads(done.arguments) == json.loads(call.arguments)

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    after = ask(client, input=[result], previous_response_id=response.id, tools=TOOLS)
    items = [{"role": "user", "content": QUESTION}, call.model_dump(exclude_none=True), result]
    assert after.usage.input_tokens == ask(client, input=items, tools=TOOLS).usage.input_tokens
    named = {"type": "function", "name": "time_of"}
    for choice in (named, {"type": "allowed_tools", "mode": "required", "tools": [named]}):
        assert ask(client, **{**params, "tool_choice": choice}).output[0].name == "time_of"
    for wrong in ({"mode": "required", "tools": "time_of"}, {"mode": "any", "tools": [named]}, {"mode": "auto"}):
        with pytest.raises(openai.BadRequestError, match=r"allowed_tools\.(tools|mode)=.*must be"):
            ask(client, **{**params, "tool_choice": {"type": "allowed_tools", **wrong}})


def test_a_conversation_is_continued(client):
    first = ask(client, instructions="Be brief.")
    second = ask(client, input="And in Oslo?", previous_response_id=first.id)
    items = [
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": [{"type": "input_text", "text": "And in Oslo?"}]},
    ]  # fmt: skip
    assert second.output_text == ask(client, input=items).output_text
    assert second.usage.input_tokens_details.cached_tokens >= 0
    third = ask(client, input="And?", previous_response_id=second.id)
    assert third.usage.input_tokens > second.usage.input_tokens


def test_responses_are_kept_and_deleted(client):
    response = ask(client)
    assert client.responses.retrieve(response.id).output_text == response.output_text
    assert client.responses.input_items.list(response.id).data[0].content == QUESTION
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    unkept = ask(client, store=False)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, previous_response_id=unkept.id)
    assert caught.value.code == "previous_response_not_found"


def test_counting_tokens(client):
    count = client.responses.input_tokens.count(model="tiny", input=QUESTION, instructions="Be brief.")
    assert count.input_tokens == ask(client, instructions="Be brief.").usage.input_tokens


def test_the_store_is_bounded(monkeypatch):
    monkeypatch.setattr(responses_store, "MAX_RESPONSES", 2)
    store = ResponseStore()
    for name in "abc":
        store.add({"id": name, "output": [{"text": name}]}, [], [{"text": "q"}])
        if name == "b":
            store.find("a")  # so it was used after b
    assert store.find("a").items == [{"text": "q"}, {"text": "a"}]
    with pytest.raises(ApiError, match="404"):
        store.find("b")
    monkeypatch.setattr(responses_store, "MAX_BYTES", 300)
    store.add({"id": "d", "output": [{"text": "d" * 250}]}, [], [])
    for name in "ac":
        with pytest.raises(ApiError):
            store.find(name)
    store.delete("d")
    assert store._n_bytes == 0


def test_the_bytes_of_a_store_are_those_of_whole_conversations(monkeypatch):
    monkeypatch.setattr(responses_store, "MAX_BYTES", 1000)
    store, before = ResponseStore(), []
    for name in "abcdef":  # each of 100 bytes and more, and continues the one before
        store.add({"id": name, "output": [{"text": name * 100}]}, before, [{"text": "q"}])
        before = store.find(name).items
        assert store._n_bytes == sum(map(len, store._stored.values())) <= 1000
    assert [item["text"] for item in before] == [text for name in "abcdef" for text in ("q", name * 100)]
    assert list(store._stored) == ["f"]


def test_only_known_fields_are_kept(client):
    part = {"type": "input_text", "text": QUESTION, "x": "a" * 1000}
    response = ask(client, input=[{"role": "user", "content": [part], "y": ["a" * 1000]}])
    (item,) = client.responses.input_items.list(response.id).model_dump(exclude_unset=True)["data"]
    assert item["content"] == [{"type": "input_text", "text": QUESTION}]
    assert "y" not in item


def test_the_items_of_a_conversation_are_limited(client, monkeypatch):
    monkeypatch.setattr(openai_responses, "MAX_ITEMS", 3)
    response = ask(client)
    after = ask(client, previous_response_id=response.id)
    with pytest.raises(openai.BadRequestError, match=r"5 items.* at most 3"):
        ask(client, previous_response_id=after.id)
    with pytest.raises(openai.BadRequestError, match=r"4 items.* at most 3"):
        ask(client, input=[{"role": "user", "content": "a"}] * 4)


def test_items_become_messages():
    items = [
        {"role": "user", "content": "How is it?"},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}], "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "one"}]},
    ]
    calls = [
        {"id": i, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for i, name in (("a", "f"), ("b", "g"))
    ]
    assert chat_messages("Be brief.", items) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "Hm.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
    ]


def test_reasoning_is_an_item(tmp_path):
    path = write_model(tmp_path / "thinks.gguf", templates.PLAIN + "<think>\n</think>")
    think = templates.PLAIN + "{% if enable_thinking %}<think>\n{% endif %}{# </think> #}"
    path = write_model(tmp_path / "thinks.gguf", think)
    with serving(path) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        response = ask(client, model="thinks", reasoning={"effort": "high"})
        assert [item.type for item in response.output] == ["reasoning"]
        assert response.usage.output_tokens_details.reasoning_tokens == 12
        kinds = [event.type for event in ask(client, model="thinks", reasoning={"effort": "high"}, stream=True)]
        assert "response.reasoning_text.delta" in kinds


def test_an_error_in_the_middle_is_raised_by_the_client(model_path):
    with serving(model_path) as server:
        gate = Gate(server.engine)
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            stream = ask(client, stream=True)
            next(stream)
            (request,) = server.engine.scheduler.running
            request.fail(RealizarError("by hand"))
            gate.open()
            with pytest.raises(openai.APIError, match="by hand"):
                list(stream)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"input": []}, "input"), ({"input": [{"type": "item_reference", "id": "a"}]}, "item_reference"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "a picture must be"),
        ({"tools": [{"type": "web_search"}]}, "runs no tools"), ({"background": True}, "background"),
        ({"text": {"format": {"type": "xml"}}}, "xml"), ({"input": "a b " * 600}, "512"),
    ],
)  # fmt: skip
def test_errors(client, changes, text):
    with pytest.raises(openai.BadRequestError, match=text):
        ask(client, **changes)
