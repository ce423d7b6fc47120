"""haystack: generators, streams, tools through an agent, structured output, embedders."""

import openai
import pytest
from haystack.components.agents import Agent
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage, Document
from haystack.tools import tool
from haystack.utils import Secret
from pydantic import BaseModel

from tests.clients.served import ANSWER, MODEL, TOO_LONG

GENERATORS = pytest.mark.parametrize("kind", [OpenAIChatGenerator, OpenAIResponsesChatGenerator])
QUESTION = [ChatMessage.from_user("Which is the capital of Italy?")]


class City(BaseModel):
    name: str
    country: str


@tool
def temperature(city: str) -> str:
    """Return the temperature in a city."""
    assert city == "Oslo"
    return "17"


def generator(served, kind, name=MODEL, key=None, **options):
    key = Secret.from_token(key or served.key)
    return kind(api_key=key, model=name, api_base_url=served.v1, max_retries=0, **options)


@GENERATORS
def test_an_answer_and_its_usage(served, kind):
    (reply,) = generator(served, kind).run(QUESTION)["replies"]
    assert reply.text == ANSWER
    usage = reply.meta["usage"]
    assert usage["total_tokens"] == usage.get("prompt_tokens", usage.get("input_tokens")) + usage.get(
        "completion_tokens", usage.get("output_tokens")
    )


@GENERATORS
def test_a_stream_is_the_answer(served, kind):
    pieces = []
    (reply,) = generator(served, kind, streaming_callback=lambda c: pieces.append(c.content)).run(QUESTION)["replies"]
    assert reply.text == "".join(pieces) == ANSWER


@GENERATORS
@pytest.mark.parametrize("streams", [False, True])
def test_an_agent_uses_a_tool(served, kind, streams):
    options = {"streaming_callback": lambda chunk: None} if streams else {}
    agent = Agent(chat_generator=generator(served, kind, **options), tools=[temperature])
    result = agent.run(messages=[ChatMessage.from_user("How warm is it in Oslo?")])
    assert result["messages"][-1].text == "It is 17 degrees in Oslo."


@GENERATORS
def test_structured_output(served, kind):
    name = "response_format" if kind is OpenAIChatGenerator else "text_format"
    made = generator(served, kind, generation_kwargs={name: City})
    (reply,) = made.run([ChatMessage.from_user("Describe Rome.")])["replies"]
    assert City.model_validate_json(reply.text) == City(name="Rome", country="Italy")


def test_embedders(served):
    options = {"api_key": Secret.from_token(served.key), "model": MODEL, "api_base_url": served.v1}
    one = OpenAITextEmbedder(**options).run("a cat")["embedding"]
    (document,) = OpenAIDocumentEmbedder(**options, progress_bar=False).run([Document(content="a cat")])["documents"]
    assert document.embedding == pytest.approx(one, abs=1e-6)


@GENERATORS
def test_errors(served, kind):
    with pytest.raises(openai.NotFoundError):
        generator(served, kind, name="gone").run(QUESTION)
    with pytest.raises(openai.AuthenticationError):
        generator(served, kind, key="wrong").run(QUESTION)
    with pytest.raises(openai.BadRequestError, match="8192"):
        generator(served, kind).run([ChatMessage.from_user(TOO_LONG)])
