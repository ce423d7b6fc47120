"""semantic-kernel: chat, streams, automatic function calling, structured output, embeddings."""

import asyncio

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAITextEmbedding,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import kernel_function

from tests.clients.served import ANSWER, MODEL, TOO_LONG


class City(BaseModel):
    name: str
    country: str


class Weather:
    @kernel_function(name="temperature", description="Return the temperature in a city.")
    def temperature(self, city: str) -> str:
        assert city == "Oslo"
        return "17"


def client(served, key=None):
    return AsyncOpenAI(base_url=served.v1, api_key=key or served.key, max_retries=0)


def chat(served, name=MODEL, key=None):
    return OpenAIChatCompletion(ai_model_id=name, async_client=client(served, key))


def history(text):
    found = ChatHistory()
    found.add_user_message(text)
    return found


def answer(service, text, settings=None, **options):
    settings = settings or OpenAIChatPromptExecutionSettings()
    return asyncio.run(service.get_chat_message_content(history(text), settings, **options))


def test_an_answer_and_its_usage(served):
    found = answer(chat(served), "Which is the capital of Italy?")
    assert str(found) == ANSWER
    assert found.metadata["usage"].prompt_tokens > 10


def test_a_stream_is_the_answer(served):
    async def streamed():
        stream = chat(served).get_streaming_chat_message_content(
            history("Which is the capital of Italy?"), OpenAIChatPromptExecutionSettings()
        )
        return [str(chunk) async for chunk in stream]

    assert "".join(asyncio.run(streamed())) == ANSWER


def test_a_function_is_called_and_its_result_used(served):
    kernel = Kernel()
    kernel.add_plugin(Weather(), plugin_name="weather")
    settings = OpenAIChatPromptExecutionSettings(function_choice_behavior=FunctionChoiceBehavior.Auto())
    found = answer(chat(served), "How warm is it in Oslo?", settings, kernel=kernel)
    assert str(found) == "It is 17 degrees in Oslo."


def test_structured_output(served):
    found = answer(chat(served), "Describe Rome.", OpenAIChatPromptExecutionSettings(response_format=City))
    assert City.model_validate_json(str(found)) == City(name="Rome", country="Italy")


def test_embeddings(served):
    service = OpenAITextEmbedding(ai_model_id=MODEL, async_client=client(served))
    assert asyncio.run(service.generate_embeddings(["a cat", "a dog"])).shape[0] == 2


def test_errors(served):
    for options, text, status in [
        ({"name": "gone"}, "Hello", "404"), ({"key": "wrong"}, "Hello", "401"), ({}, TOO_LONG, "8192")
    ]:  # fmt: skip
        with pytest.raises(ServiceResponseException) as caught:
            answer(chat(served, **options), text)
        assert status in str(caught.value.__cause__)
