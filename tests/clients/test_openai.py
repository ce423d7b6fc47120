"""openai: its helpers around the endpoints: parse, streams with their final result, asynchronous clients."""

import asyncio

import pytest

openai = pytest.importorskip("openai", reason="needs the extra test")
from pydantic import BaseModel  # noqa: E402

from tests.clients.served import ANSWER, MODEL, PROMPT, TOO_LONG  # noqa: E402

QUESTION = [{"role": "user", "content": "Which is the capital of Italy?"}]
ROME = [{"role": "user", "content": "Describe Rome."}]
WARM = [{"role": "user", "content": "How warm is it in Oslo?"}]


class City(BaseModel):
    name: str
    country: str


class temperature(BaseModel):
    """Return the temperature in a city."""

    city: str


TOOL = openai.pydantic_function_tool(temperature)
FLAT_TOOL = {"type": "function", **TOOL["function"]}
ITALY = City(name="Rome", country="Italy")


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as found:
        yield found


def test_a_parsed_completion(client):
    made = client.chat.completions.parse(model=MODEL, messages=ROME, response_format=City)
    assert made.choices[0].message.parsed == ITALY
    (call,) = client.chat.completions.parse(model=MODEL, messages=WARM, tools=[TOOL]).choices[0].message.tool_calls
    assert call.function.parsed_arguments == temperature(city="Oslo")


def test_a_parsed_completion_that_is_cut_raises(client):
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=ROME, response_format=City, max_tokens=3)


def test_a_stream_with_its_final_completion(client):
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, stream_options={"include_usage": True}
    ) as found:
        deltas = [event.delta for event in found if event.type == "content.delta"]
    final = found.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == ANSWER
    assert final.usage.completion_tokens >= len(deltas) > 3


def test_a_stream_of_a_parsed_result(client):
    with client.chat.completions.stream(model=MODEL, messages=ROME, response_format=City) as found:
        parsed = [event.parsed for event in found if event.type == "content.delta"]
    assert parsed[-1] == {"name": "Rome", "country": "Italy"}
    assert found.get_final_completion().choices[0].message.parsed == ITALY


def test_a_stream_of_a_tool_call(client):
    with client.chat.completions.stream(model=MODEL, messages=WARM, tools=[TOOL]) as found:
        events = list(found)
    pieces = [e.arguments_delta for e in events if e.type == "tool_calls.function.arguments.delta"]
    (done,) = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert "".join(pieces) == done.arguments
    assert done.parsed_arguments == temperature(city="Oslo")


def test_a_chunk_has_one_delta_of_a_call(client):
    """Instructor and llama-index read only the first one of a chunk."""
    chunks = client.chat.completions.create(model=MODEL, messages=WARM, tools=[TOOL], stream=True)
    found = [chunk.choices[0].delta.tool_calls for chunk in chunks]
    assert [len(calls) for calls in found if calls] == [1] * sum(map(bool, found))
    assert sum(map(bool, found)) > 3


def test_a_conversation_with_a_tool(client):
    message = client.chat.completions.create(model=MODEL, messages=WARM, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "17"}
    answer = client.chat.completions.create(model=MODEL, messages=[*WARM, message, result], tools=[TOOL])
    assert answer.choices[0].message.content == "It is 17 degrees in Oslo."


def test_a_parsed_response(client):
    made = client.responses.parse(model=MODEL, input="Describe Rome.", text_format=City)
    assert made.output_parsed == ITALY
    made = client.responses.parse(model=MODEL, input="How warm is it in Oslo?", tools=[FLAT_TOOL])
    (call,) = made.output
    assert (call.type, call.name, call.arguments) == ("function_call", "temperature", '{"city": "Oslo"}')
    items = [*WARM, call, {"type": "function_call_output", "call_id": call.call_id, "output": "17"}]
    answer = client.responses.create(model=MODEL, input=items, tools=[FLAT_TOOL])
    assert answer.output_text == "It is 17 degrees in Oslo."


def test_a_stream_of_a_response(client):
    with client.responses.stream(model=MODEL, input="Describe Rome.", text_format=City) as found:
        events = list(found)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = found.get_final_response()
    assert City.model_validate_json(deltas) == final.output_parsed == ITALY
    assert final.usage.output_tokens > 5
    with client.responses.stream(model=MODEL, input="How warm is it in Oslo?", tools=[FLAT_TOOL]) as found:
        pieces = [event.delta for event in found if event.type == "response.function_call_arguments.delta"]
    assert "".join(pieces) == found.get_final_response().output[0].arguments


def test_responses_that_go_on(client):
    first = client.responses.create(model=MODEL, input="Which is the capital of Italy?")
    second = client.responses.create(model=MODEL, input="And again?", previous_response_id=first.id)
    assert second.output_text == ANSWER
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(first.id).output_text == ANSWER
    assert [item.role for item in client.responses.input_items.list(first.id)] == ["user"]
    counted = client.responses.input_tokens.count(model=MODEL, input="Which is the capital of Italy?")
    assert counted.input_tokens == first.usage.input_tokens


def test_completions_and_embeddings(client):
    assert client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=40).choices[0].text == ANSWER
    chunks = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=40, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWER
    packed, plain = (
        client.embeddings.create(model=MODEL, input=["a cat", "a dog"], **options)
        for options in ({}, {"encoding_format": "float"})
    )
    assert packed.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-7)
    assert packed.usage.prompt_tokens > 0
    assert MODEL in [model.id for model in client.models.list()]


def test_asynchronous(served):
    async def answers():
        async with openai.AsyncOpenAI(base_url=served.v1, api_key=served.key, max_retries=0) as client:
            made = await client.chat.completions.parse(model=MODEL, messages=ROME, response_format=City)
            async with client.chat.completions.stream(model=MODEL, messages=QUESTION) as stream:
                final = await stream.get_final_completion()
            async with client.responses.stream(model=MODEL, input="Which is the capital of Italy?") as stream:
                response = await stream.get_final_response()
            vectors = await client.embeddings.create(model=MODEL, input="a cat")
        return made.choices[0].message.parsed, final.choices[0].message.content, response.output_text, vectors

    parsed, text, response, vectors = asyncio.run(answers())
    assert (parsed, text, response) == (ITALY, ANSWER, ANSWER)
    assert len(vectors.data) == 1


def test_errors(client, served):
    with pytest.raises(openai.NotFoundError) as gone:
        client.chat.completions.create(model="gone", messages=QUESTION)
    assert gone.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").responses.create(model=MODEL, input="Hello")
    for ask in (
        lambda: client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": TOO_LONG}]),
        lambda: client.responses.create(model=MODEL, input=TOO_LONG),
        lambda: client.completions.create(model=MODEL, prompt=TOO_LONG),
        lambda: client.embeddings.create(model=MODEL, input=TOO_LONG),
    ):
        with pytest.raises(openai.BadRequestError) as long:
            ask()
        assert long.value.code == "context_length_exceeded"
