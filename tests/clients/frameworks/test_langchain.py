"""langchain-openai, langchain-anthropic and langchain-ollama."""

import asyncio

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from openai import AuthenticationError, BadRequestError, NotFoundError
from pydantic import BaseModel

from tests.clients.served import ANSWER, MODEL, PROMPT, TOO_LONG

QUESTION = "Which is the capital of Italy? One word."


class City(BaseModel):
    """A city."""

    name: str
    country: str


@tool
def temperature(city: str) -> str:
    """Return the temperature in a city."""
    return f"It is 17 degrees in {city}."


def openai_chat(served, **options):
    options = {"model": MODEL, "api_key": served.key, "max_tokens": 48, **options}
    return ChatOpenAI(base_url=served.v1, temperature=0, max_retries=0, stream_usage=True, **options)


def anthropic_chat(served):
    return ChatAnthropic(
        model=MODEL, base_url=served.url, api_key=served.key, max_tokens=48, max_retries=0, temperature=0
    )


def ollama_chat(served):
    headers = {"headers": {"Authorization": f"Bearer {served.key}"}}
    return ChatOllama(model=MODEL, base_url=served.url, temperature=0, num_predict=48, client_kwargs=headers)


CHATS = pytest.mark.parametrize("chat", [openai_chat, anthropic_chat, ollama_chat])
RESPONSES = {"use_responses_api": True}


def texts(message):
    content = message.content
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@CHATS
def test_an_answer_and_its_usage(served, chat):
    answer = chat(served).invoke(QUESTION)
    assert texts(answer) == ANSWER
    usage = answer.usage_metadata
    assert usage["input_tokens"] > 10
    assert 0 < usage["output_tokens"] <= 48
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@CHATS
def test_a_stream_is_the_answer(served, chat):
    llm = chat(served)
    whole = llm.invoke(QUESTION)
    chunks = list(llm.stream(QUESTION))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert len(chunks) > 2
    assert texts(total) == texts(whole)
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]


@CHATS
def test_a_tool_is_called_and_its_result_used(served, chat):
    llm = chat(served)
    messages = [HumanMessage("How warm is it in Oslo?")]
    choice = {} if chat is ollama_chat else {"tool_choice": "any"}
    called = llm.bind_tools([temperature], **choice).invoke(messages)
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("temperature", {"city": "Oslo"})
    messages += [called, ToolMessage(temperature.invoke(call["args"]), tool_call_id=call["id"])]
    assert "17" in texts(llm.bind_tools([temperature]).invoke(messages))


@CHATS
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(served, chat, method):
    found = chat(served).with_structured_output(City, method=method).invoke("Describe Rome.")
    assert found == City(name="Rome", country="Italy")


def test_responses_api(served):
    llm = openai_chat(served, use_responses_api=True)
    assert texts(llm.invoke(QUESTION)) == ANSWER
    assert "".join(texts(chunk) for chunk in llm.stream(QUESTION)) == ANSWER
    called = llm.bind_tools([temperature], tool_choice="any").invoke("How warm is it in Oslo?")
    assert called.tool_calls[0]["args"] == {"city": "Oslo"}
    assert llm.with_structured_output(City).invoke("Describe Rome.") == City(name="Rome", country="Italy")


async def answers(llm):
    return [chunk async for chunk in llm.astream(QUESTION)]


@CHATS
def test_asynchronous(served, chat):
    chunks = asyncio.run(answers(chat(served)))
    assert "".join(texts(chunk) for chunk in chunks) == ANSWER


def test_completions(served):
    llm = OpenAI(model=MODEL, base_url=served.v1, api_key=served.key, temperature=0, max_tokens=48)
    assert llm.invoke(PROMPT) == ANSWER
    assert "".join(llm.stream(PROMPT)) == ANSWER


def test_embeddings(served):
    own = OpenAIEmbeddings(model=MODEL, base_url=served.v1, api_key=served.key, check_embedding_ctx_length=False)
    headers = {"headers": {"Authorization": f"Bearer {served.key}"}}
    ollama = OllamaEmbeddings(model=MODEL, base_url=served.url, client_kwargs=headers)
    first = own.embed_documents(["a cat", "a dog"])
    assert len(first) == 2
    assert first[0] == pytest.approx(own.embed_query("a cat"), abs=1e-6)
    assert first[0] == pytest.approx(ollama.embed_query("a cat"), abs=1e-6)


def test_errors(served):
    with pytest.raises(NotFoundError, match="gone"):
        openai_chat(served, model="gone").invoke(QUESTION)
    with pytest.raises(AuthenticationError):
        openai_chat(served, api_key="wrong").invoke(QUESTION)
    with pytest.raises(BadRequestError, match="8192"):
        openai_chat(served).invoke(TOO_LONG)
