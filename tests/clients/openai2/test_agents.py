"""strands-agents and agno: agents with a tool, and typed results."""

import asyncio

import pytest
from agno.agent import Agent as AgnoAgent
from agno.models.openai.like import OpenAILike
from pydantic import BaseModel
from strands import Agent as StrandsAgent
from strands import tool
from strands.models.openai import OpenAIModel
from strands.types.exceptions import ContextWindowOverflowException

from tests.clients.served import ANSWER, MODEL, TOO_LONG


class City(BaseModel):
    """A city."""

    name: str
    country: str


def temperature(city: str) -> str:
    """Return the temperature in a city.

    Args:
        city: The name of the city.
    """
    assert city == "Oslo"
    return "17"


def strands(served, name=MODEL, key=None, **options):
    client = {"base_url": served.v1, "api_key": key or served.key, "max_retries": 0}
    return StrandsAgent(model=OpenAIModel(client_args=client, model_id=name), callback_handler=None, **options)


def agno(served, name=MODEL, key=None, **options):
    model = OpenAILike(id=name, base_url=served.v1, api_key=key or served.key, max_retries=0)
    return AgnoAgent(model=model, telemetry=False, **options)


def test_strands_agent(served):
    assert str(strands(served)("Which is the capital of Italy?")).strip() == ANSWER
    found = strands(served, tools=[tool(temperature)])("How warm is it in Oslo?")
    assert str(found).strip() == "It is 17 degrees in Oslo."
    assert found.metrics.accumulated_usage["inputTokens"] > 10


def test_strands_typed_result(served):
    found = strands(served)("Describe Rome.", structured_output_model=City).structured_output
    assert found == City(name="Rome", country="Italy")


def test_strands_stream(served):
    async def run():
        stream = strands(served).stream_async("Which is the capital of Italy?")
        return [event["data"] async for event in stream if "data" in event]

    assert "".join(asyncio.run(run())) == ANSWER


def test_strands_errors(served):
    for options, text in [({"name": "gone"}, "Hello"), ({"key": "wrong"}, "Hello")]:
        with pytest.raises(Exception, match=r"40[14]"):
            strands(served, **options)(text)
    with pytest.raises(ContextWindowOverflowException):  # after it has tried to shorten the conversation
        strands(served)(TOO_LONG)


def test_agno_agent(served):
    assert agno(served).run("Which is the capital of Italy?").content == ANSWER
    found = agno(served, tools=[temperature]).run("How warm is it in Oslo?")
    assert found.content == "It is 17 degrees in Oslo."


def test_agno_typed_result(served):
    assert agno(served, output_schema=City).run("Describe Rome.").content == City(name="Rome", country="Italy")


def test_agno_stream(served):
    events = list(agno(served).run("Which is the capital of Italy?", stream=True))
    assert "".join(event.content or "" for event in events if event.event == "RunContent") == ANSWER
