"""litellm: chat, tools, structured output, completions, embeddings, rerank, and the three protocols as providers."""

import asyncio
import json

import litellm
import pytest
from pydantic import BaseModel

from tests.clients.served import ANSWER, MODEL, PROMPT, TOO_LONG

QUESTION = [{"role": "user", "content": "Which is the capital of Italy?"}]
WARM = [{"role": "user", "content": "How warm is it in Oslo?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "temperature", "description": "Return the temperature.", "parameters": PARAMETERS},
}


class City(BaseModel):
    name: str
    country: str


def provider(served, name, **options):
    base = served.v1 if name in ("openai", "hosted_vllm", "text-completion-openai") else served.url
    common = {"api_base": base, "api_key": served.key, "num_retries": 0, "max_tokens": 48}
    return {"model": f"{name}/{MODEL}", **common, **options}


PROVIDERS = pytest.mark.parametrize("name", ["openai", "hosted_vllm", "anthropic", "ollama_chat"])


@PROVIDERS
def test_an_answer_and_its_usage(served, name):
    answer = litellm.completion(**provider(served, name), messages=QUESTION)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 10
    assert 0 < answer.usage.completion_tokens < 48


@PROVIDERS
def test_a_stream_is_the_answer(served, name):
    chunks = list(litellm.completion(**provider(served, name), messages=QUESTION, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert len(chunks) > 3
    whole = litellm.stream_chunk_builder(chunks, messages=QUESTION)
    assert whole.choices[0].message.content == ANSWER
    assert whole.choices[0].finish_reason == "stop"


@PROVIDERS
def test_a_tool_is_called_and_its_result_used(served, name):
    options = provider(served, name, tools=[TOOL])
    message = litellm.completion(**options, messages=WARM).choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("temperature", {"city": "Oslo"})
    result = {"role": "tool", "tool_call_id": call.id, "name": "temperature", "content": "17"}
    answer = litellm.completion(**options, messages=[*WARM, message.model_dump(exclude_none=True), result])
    assert "17 degrees" in answer.choices[0].message.content


@PROVIDERS
def test_a_streamed_tool_call_joins(served, name):
    chunks = list(litellm.completion(**provider(served, name, tools=[TOOL]), messages=WARM, stream=True))
    (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("temperature", {"city": "Oslo"})


@PROVIDERS
def test_structured_output(served, name):
    messages = [{"role": "user", "content": "Describe Rome."}]
    answer = litellm.completion(**provider(served, name), messages=messages, response_format=City)
    assert City.model_validate_json(answer.choices[0].message.content) == City(name="Rome", country="Italy")


def test_asynchronous(served):
    async def answers():
        asked = [litellm.acompletion(**provider(served, "openai"), messages=QUESTION) for _ in range(3)]
        return [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]

    assert asyncio.run(answers()) == [ANSWER] * 3


def test_completions(served):
    answer = litellm.text_completion(**provider(served, "text-completion-openai"), prompt=PROMPT)
    assert answer.choices[0].text == ANSWER


def test_responses(served):
    found = litellm.responses(
        model=f"openai/{MODEL}", api_base=served.v1, api_key=served.key, input="Which is the capital of Italy?"
    )
    assert found.output[0].content[0].text == ANSWER


def test_embeddings(served):
    options = {"api_key": served.key, "input": ["a cat", "a dog"]}
    found = litellm.embedding(model=f"openai/{MODEL}", api_base=served.v1, **options)
    assert len(found.data) == 2
    assert found.usage.prompt_tokens > 0
    ollama = litellm.embedding(model=f"ollama/{MODEL}", api_base=served.url, **options)
    assert ollama.data[1]["embedding"] == pytest.approx(found.data[1]["embedding"], abs=1e-6)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_errors(served, name):
    ask = provider(served, name)
    with pytest.raises(litellm.NotFoundError, match="gone"):
        litellm.completion(**{**ask, "model": f"{name}/gone"}, messages=QUESTION)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**ask, "api_key": "wrong"}, messages=QUESTION)
    with pytest.raises(litellm.BadRequestError, match="8192"):
        litellm.completion(**ask, messages=[{"role": "user", "content": TOO_LONG}])


def test_a_long_prompt_is_known_as_such(served):
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**provider(served, "openai"), messages=[{"role": "user", "content": TOO_LONG}])
