"""pydantic-ai: agents with tools and typed results, over three APIs."""

import asyncio

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.served import ANSWER, MODEL, TOO_LONG


class City(BaseModel):
    name: str
    country: str


def chat(served, key=None, name=MODEL):
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=served.v1, api_key=key or served.key))


def responses(served, key=None, name=MODEL):
    return OpenAIResponsesModel(name, provider=OpenAIProvider(base_url=served.v1, api_key=key or served.key))


def messages(served, key=None, name=MODEL):
    """Return a model that may be asked for JSON by a schema; pydantic-ai itself knows this of Claude's names only."""
    provider = AnthropicProvider(base_url=served.url, api_key=key or served.key)
    return AnthropicModel(name, provider=provider, profile=ModelProfile(supports_json_schema_output=True))


MODELS = pytest.mark.parametrize("model", [chat, responses, messages])


@MODELS
def test_an_answer_and_its_usage(served, model):
    result = Agent(model(served), instructions="Be short.").run_sync("Which is the capital of Italy?")
    assert result.output == ANSWER
    assert result.usage.input_tokens > 10
    assert result.usage.output_tokens > 5


@MODELS
def test_a_tool_is_called_and_its_result_used(served, model):
    agent, asked = Agent(model(served)), []

    @agent.tool_plain
    def temperature(city: str) -> str:
        """Return the temperature in a city."""
        asked.append(city)
        return "17"

    result = agent.run_sync("How warm is it in Oslo?")
    assert asked == ["Oslo"]
    assert result.output == "It is 17 degrees in Oslo."
    assert result.usage.requests == 2


@MODELS
@pytest.mark.parametrize("kind", [lambda t: t, NativeOutput, PromptedOutput])
def test_a_typed_result(served, model, kind):
    result = Agent(model(served), output_type=kind(City)).run_sync("Describe Rome.")
    assert result.output == City(name="Rome", country="Italy")


@MODELS
def test_streams(served, model):
    async def run():
        agent = Agent(model(served))
        async with agent.run_stream("Which is the capital of Italy?") as stream:
            deltas = [text async for text in stream.stream_text(delta=True, debounce_by=None)]
        typed = Agent(model(served), output_type=City)
        async with typed.run_stream("Describe Rome.") as stream:
            partial = [city async for city in stream.stream_output(debounce_by=None)]
        return deltas, partial

    deltas, partial = asyncio.run(run())
    assert "".join(deltas) == ANSWER
    assert len(deltas) > 2
    assert partial[-1] == City(name="Rome", country="Italy")


@MODELS
def test_a_conversation_goes_on(served, model):
    agent = Agent(model(served))
    first = agent.run_sync("Which is the capital of Italy?")
    second = agent.run_sync("And again?", message_history=first.all_messages())
    assert second.output == ANSWER
    assert second.usage.input_tokens > first.usage.input_tokens


@MODELS
def test_errors(served, model):
    for options, text, status in [
        ({"name": "gone"}, "Hello", 404), ({"key": "wrong"}, "Hello", 401), ({}, TOO_LONG, 400)
    ]:  # fmt: skip
        with pytest.raises(ModelHTTPError) as caught:
            Agent(model(served, **options)).run_sync(text)
        assert caught.value.status_code == status
