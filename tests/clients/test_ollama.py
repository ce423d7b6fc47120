"""ollama: chat with Python functions as tools, typed results, streams, embeddings."""

import asyncio

import pytest

ollama = pytest.importorskip("ollama", reason="needs the extra test")
from pydantic import BaseModel  # noqa: E402

from tests.clients.served import ANSWER, MODEL, TOO_LONG  # noqa: E402

QUESTION = [{"role": "user", "content": "Which is the capital of Italy?"}]
WARM = [{"role": "user", "content": "How warm is it in Oslo?"}]
ROME = [{"role": "user", "content": "Describe Rome."}]


class City(BaseModel):
    name: str
    country: str


def temperature(city: str) -> str:
    """Return the temperature in a city.

    Args:
        city: The name of the city.
    """
    return f"17 in {city}"


def options(served, key=None):
    return {"host": served.url, "headers": {"Authorization": f"Bearer {key or served.key}"}}


@pytest.fixture
def client(served):
    return ollama.Client(**options(served))


def test_an_answer_and_its_counts(client):
    found = client.chat(MODEL, QUESTION)
    assert (found.message.content, found.done_reason) == (ANSWER, "stop")
    assert found.prompt_eval_count > 10
    assert found.eval_count > 5


def test_a_stream_is_the_answer(client):
    parts = list(client.chat(MODEL, QUESTION, stream=True))
    assert "".join(part.message.content for part in parts) == ANSWER
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 3


@pytest.mark.parametrize("streams", [False, True])
def test_a_function_is_called_and_its_result_used(client, streams):
    found = client.chat(MODEL, WARM, tools=[temperature], stream=streams)
    messages = [part.message for part in found] if streams else [found.message]
    (call,) = [call for message in messages for call in message.tool_calls or []]
    assert (call.function.name, dict(call.function.arguments)) == ("temperature", {"city": "Oslo"})
    asked = {"role": "assistant", "tool_calls": [call]}
    result = {"role": "tool", "tool_name": "temperature", "content": temperature(**call.function.arguments)}
    answer = client.chat(MODEL, [*WARM, asked, result], tools=[temperature])
    assert answer.message.content == "It is 17 degrees in Oslo."


def test_a_typed_result(client):
    found = client.chat(MODEL, ROME, format=City.model_json_schema())
    assert City.model_validate_json(found.message.content) == City(name="Rome", country="Italy")
    assert client.generate(MODEL, "Describe Rome.", format="json").response.startswith("{")


def test_generate_and_embed(client):
    assert client.generate(MODEL, "Which is the capital of Italy?").response == ANSWER
    several = client.embed(MODEL, ["a cat", "a dog"]).embeddings
    assert several[1] == pytest.approx(client.embed(MODEL, "a dog").embeddings[0], abs=1e-6)
    assert MODEL in [model.model for model in client.list().models]


def test_asynchronous(served):
    async def answers():
        client = ollama.AsyncClient(**options(served))
        return [part.message.content async for part in await client.chat(MODEL, QUESTION, stream=True)]

    assert "".join(asyncio.run(answers())) == ANSWER


def test_errors(client, served):
    for ask, status, text in [
        (lambda: client.chat("gone", QUESTION), 404, "gone"),
        (lambda: ollama.Client(**options(served, "wrong")).chat(MODEL, QUESTION), 401, ""),
        (lambda: client.chat(MODEL, [{"role": "user", "content": TOO_LONG}]), 400, "8192"),
    ]:
        with pytest.raises(ollama.ResponseError, match=text) as caught:
            ask()
        assert caught.value.status_code == status
