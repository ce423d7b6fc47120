"""anthropic: its helpers around the messages: streams, tools that it runs itself, counts, features that are in beta."""

import asyncio

import pytest

anthropic = pytest.importorskip("anthropic", reason="needs the extra test")
from pydantic import BaseModel  # noqa: E402

from tests.clients.served import ANSWER, MODEL, TOO_LONG  # noqa: E402

QUESTION = [{"role": "user", "content": "Which is the capital of Italy?"}]
WARM = [{"role": "user", "content": "How warm is it in Oslo?"}]
ASK = {"model": MODEL, "max_tokens": 60, "messages": QUESTION}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "temperature", "description": "Return the temperature in a city.", "input_schema": SCHEMA}


class City(BaseModel):
    name: str
    country: str


@anthropic.beta_tool
def temperature(city: str) -> str:
    """Return the temperature in a city.

    Args:
        city: The name of the city.
    """
    assert city == "Oslo"
    return "17"


@pytest.fixture
def client(served):
    with anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=0) as found:
        yield found


def test_a_message_and_its_usage(client):
    message = client.messages.create(**ASK, system="Be short.")
    assert message.content[0].text == ANSWER
    assert (message.stop_reason, message.usage.output_tokens > 5) == ("end_turn", True)
    counted = client.messages.count_tokens(model=MODEL, messages=QUESTION, system="Be short.")
    assert counted.input_tokens == message.usage.input_tokens + message.usage.cache_read_input_tokens


def test_a_stream_with_its_final_message(client):
    with client.messages.stream(**ASK) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == final.content[0].text == ANSWER
    assert len(pieces) > 3
    assert final.usage.output_tokens > len(pieces)


def test_a_stream_of_a_tool_call(client):
    with client.messages.stream(**{**ASK, "messages": WARM}, tools=[TOOL]) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert "".join(pieces) == '{"city": "Oslo"}'
    assert final.content[-1].input == {"city": "Oslo"}
    assert final.stop_reason == "tool_use"


@pytest.mark.parametrize("streams", [False, True])
def test_the_tool_runner(client, streams):
    runner = client.beta.messages.tool_runner(
        model=MODEL, max_tokens=60, messages=WARM, tools=[temperature], stream=streams
    )
    assert runner.until_done().content[0].text == "It is 17 degrees in Oslo."


def test_a_parsed_message(client):
    message = client.messages.parse(
        model=MODEL, max_tokens=60, messages=[{"role": "user", "content": "Describe Rome."}], output_format=City
    )
    assert message.parsed_output == City(name="Rome", country="Italy")


def test_features_in_beta_degrade(client):
    """Hints are ignored; what would change the answer is refused."""
    cached = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
    message = client.beta.messages.create(
        **ASK, system=cached, betas=["context-management-2025-06-27"], metadata={"user_id": "one"},
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}, service_tier="auto",
    )  # fmt: skip
    assert message.content[0].text == ANSWER
    with pytest.raises(anthropic.BadRequestError, match="this server runs no tools"):
        client.messages.create(**ASK, tools=[{"type": "web_search_20250305", "name": "web_search"}])


def test_asynchronous(served):
    async def answers():
        async with anthropic.AsyncAnthropic(base_url=served.url, api_key=served.key, max_retries=0) as client:
            async with client.messages.stream(**ASK) as stream:
                text = await stream.get_final_text()
            return text, await client.messages.create(**ASK)

    text, message = asyncio.run(answers())
    assert text == message.content[0].text == ANSWER


def test_errors(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**{**ASK, "model": "gone"})
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="wrong").messages.create(**ASK)
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 8192 maximum"):
        client.messages.create(**{**ASK, "messages": [{"role": "user", "content": TOO_LONG}]})
