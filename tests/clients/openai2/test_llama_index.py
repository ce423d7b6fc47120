"""llama-index: OpenAILike with chat, streams, tools and structured results; agents; embeddings."""

import asyncio

import openai
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from tests.clients.served import ANSWER, MODEL, N_CTX, PROMPT, TOO_LONG

QUESTION = [ChatMessage("Which is the capital of Italy?")]


class City(BaseModel):
    """A city."""

    name: str
    country: str


def temperature(city: str) -> str:
    """Return the temperature in a city."""
    assert city == "Oslo"
    return "17"


def model(served, name=MODEL, key=None, **options):
    options = {"is_chat_model": True, "is_function_calling_model": True, "context_window": N_CTX, **options}
    return OpenAILike(
        model=name, api_base=served.v1, api_key=key or served.key, max_retries=0, max_tokens=64, **options
    )


def test_an_answer_and_its_usage(served):
    found = model(served).chat(QUESTION)
    assert found.message.content == ANSWER
    assert found.raw.usage.prompt_tokens > 10


def test_a_stream_is_the_answer(served):
    assert "".join(chunk.delta for chunk in model(served).stream_chat(QUESTION)) == ANSWER


def test_completions(served):
    llm = model(served, is_chat_model=False)
    assert llm.complete(PROMPT).text == ANSWER
    assert "".join(chunk.delta for chunk in llm.stream_complete(PROMPT)) == ANSWER


def test_a_tool_is_called(served):
    tool = FunctionTool.from_defaults(temperature)
    found = model(served).predict_and_call([tool], "How warm is it in Oslo?")
    assert str(found) == "17"


@pytest.mark.parametrize("streams", [True, False])
def test_an_agent_uses_a_tool(served, streams):
    async def run():
        agent = FunctionAgent(tools=[temperature], llm=model(served), streaming=streams)
        return str(await agent.run("How warm is it in Oslo?"))

    assert asyncio.run(run()) == "It is 17 degrees in Oslo."


@pytest.mark.parametrize("has_schemas", [True, False])
def test_structured_results(served, has_schemas):
    llm = model(served, should_use_structured_outputs=has_schemas)
    found = llm.as_structured_llm(City).chat([ChatMessage("Describe Rome.")])
    assert found.raw == City(name="Rome", country="Italy")


def test_embeddings(served):
    options = {"model_name": MODEL, "api_base": served.v1, "api_key": served.key}
    embedding = OpenAILikeEmbedding(**options)
    several = embedding.get_text_embedding_batch(["a cat", "a dog"])
    assert several[1] == pytest.approx(embedding.get_text_embedding("a dog"), abs=1e-6)


def test_errors(served):
    with pytest.raises(openai.NotFoundError):
        model(served, name="gone").chat(QUESTION)
    with pytest.raises(openai.AuthenticationError):
        model(served, key="wrong").chat(QUESTION)
    with pytest.raises(openai.BadRequestError, match="8192"):
        model(served).chat([ChatMessage(TOO_LONG)])
