"""smolagents: its OpenAI model, streams, and an agent that calls tools."""

import openai
import pytest
from smolagents import ChatMessage, OpenAIModel, tool
from smolagents.models import MessageRole

from tests.clients.served import ANSWER, MODEL, TOO_LONG


@tool
def temperature(city: str) -> str:
    """Return the temperature in a city.

    Args:
        city: The name of the city.
    """
    return "17"


def model(served, name=MODEL, key=None):
    return OpenAIModel(name, api_base=served.v1, api_key=key or served.key, client_kwargs={"max_retries": 0})


def asked(text):
    return [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": text}])]


def test_an_answer_and_its_usage(served):
    found = model(served)(asked("Which is the capital of Italy?"))
    assert found.content == ANSWER
    assert found.token_usage.input_tokens > 10


def test_a_stream_is_the_answer(served):
    deltas = list(model(served).generate_stream(asked("Which is the capital of Italy?")))
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    assert deltas[-1].token_usage.output_tokens > 5


def test_a_tool_is_called(served):
    found = model(served)(asked("How warm is it in Oslo?"), tools_to_call_from=[temperature])
    (call,) = found.tool_calls
    assert call.function.name == "temperature"
    assert "Oslo" in str(call.function.arguments)


def test_errors(served):
    with pytest.raises(openai.NotFoundError):
        model(served, name="gone")(asked("Hello"))
    with pytest.raises(openai.AuthenticationError):
        model(served, key="wrong")(asked("Hello"))
    with pytest.raises(openai.BadRequestError, match="8192"):
        model(served)(asked(TOO_LONG))
