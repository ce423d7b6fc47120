"""openai-agents: tools, handoffs, typed results and streams, over chat completions and the Responses API."""

import asyncio

import openai
import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel

from tests.clients.served import ANSWER, MODEL, TOO_LONG

set_tracing_disabled(True)
MODELS = pytest.mark.parametrize("kind", [OpenAIChatCompletionsModel, OpenAIResponsesModel])


class City(BaseModel):
    name: str
    country: str


@function_tool
def temperature(city: str) -> str:
    """Return the temperature in a city."""
    assert city == "Oslo"
    return "17"


def run(served, kind, question, key=None, name=MODEL, session=None, hands_to=(), **options):
    async def answered():
        client = openai.AsyncOpenAI(base_url=served.v1, api_key=key or served.key, max_retries=0)
        model = kind(name, client)
        handoffs = [Agent(name=name, model=model) for name in hands_to]
        agent = Agent(name="assistant", model=model, handoffs=handoffs, **options)
        return await Runner.run(agent, question, session=session)

    return asyncio.run(answered())


@MODELS
def test_an_answer_and_its_usage(served, kind):
    result = run(served, kind, "Which is the capital of Italy?", instructions="Be short.")
    assert result.final_output == ANSWER
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.total_tokens) == (1, usage.input_tokens + usage.output_tokens)


@MODELS
@pytest.mark.parametrize("choice", [None, "required", "temperature"])
def test_a_tool_is_called_and_its_result_used(served, kind, choice):
    settings = ModelSettings(tool_choice=choice)
    result = run(served, kind, "How warm is it in Oslo?", tools=[temperature], model_settings=settings)
    assert result.final_output == "It is 17 degrees in Oslo."


@MODELS
def test_a_handoff(served, kind):
    result = run(served, kind, "Which is the capital of Italy?", hands_to=["geographer"])
    assert result.last_agent.name == "geographer"
    assert result.final_output.startswith("Rome, says the geographer")


@MODELS
def test_a_typed_result(served, kind):
    result = run(served, kind, "Describe Rome.", output_type=City)
    assert result.final_output == City(name="Rome", country="Italy")


@MODELS
def test_a_session(served, kind):
    session = SQLiteSession("one")
    for n in (2, 4):
        run(served, kind, "Which is the capital of Italy?", session=session)
        assert len(asyncio.run(session.get_items())) == n


@MODELS
def test_a_stream(served, kind):
    async def streamed():
        client = openai.AsyncOpenAI(base_url=served.v1, api_key=served.key)
        agent = Agent(name="assistant", model=kind(MODEL, client), tools=[temperature])
        result = Runner.run_streamed(agent, "How warm is it in Oslo?")
        events = [event async for event in result.stream_events()]
        return result, events

    result, events = asyncio.run(streamed())
    raw = [event.data for event in events if event.type == "raw_response_event"]
    assert "".join(e.delta for e in raw if e.type == "response.output_text.delta") == "It is 17 degrees in Oslo."
    assert result.final_output == "It is 17 degrees in Oslo."
    names = [event.name for event in events if event.type == "run_item_stream_event"]
    assert names == ["tool_called", "tool_output", "message_output_created"]


@MODELS
def test_errors(served, kind):
    with pytest.raises(openai.NotFoundError, match="gone"):
        run(served, kind, "Hello", name="gone")
    with pytest.raises(openai.AuthenticationError):
        run(served, kind, "Hello", key="wrong")
    with pytest.raises(openai.BadRequestError, match="8192"):
        run(served, kind, TOO_LONG)
