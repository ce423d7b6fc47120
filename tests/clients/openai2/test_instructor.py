"""instructor: typed results by tools, by JSON schemas and by JSON, whole, partial and in lists."""

import asyncio

import anthropic
import instructor
import openai
import pytest
from instructor.core import InstructorRetryException
from pydantic import BaseModel

from tests.clients.served import MODEL, TOO_LONG

ROME = [{"role": "user", "content": "Describe Rome."}]
ROME_IS = {"name": "Rome", "country": "Italy"}


class City(BaseModel):
    name: str
    country: str


def client(served, mode, key=None):
    return instructor.from_openai(
        openai.OpenAI(base_url=served.v1, api_key=key or served.key, max_retries=0), mode=mode
    )


MODES = pytest.mark.parametrize(
    "mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON, instructor.Mode.TOOLS_STRICT]
)


@MODES
def test_a_typed_result_and_its_usage(served, mode):
    made = client(served, mode).chat.completions
    found, raw = made.create_with_completion(model=MODEL, messages=ROME, response_model=City, max_retries=0)
    assert found.model_dump() == ROME_IS
    assert raw.usage.completion_tokens > 5


@MODES
def test_partial_results(served, mode):
    found = list(client(served, mode).chat.completions.create_partial(model=MODEL, messages=ROME, response_model=City))
    assert len(found) > 2
    assert found[-1].model_dump() == ROME_IS


def test_asynchronous(served):
    async def made():
        own = openai.AsyncOpenAI(base_url=served.v1, api_key=served.key)
        return await instructor.from_openai(own).create(model=MODEL, messages=ROME, response_model=City, max_retries=0)

    assert asyncio.run(made()).model_dump() == ROME_IS


@pytest.mark.parametrize("mode", [instructor.Mode.ANTHROPIC_TOOLS, instructor.Mode.ANTHROPIC_JSON])
def test_anthropic(served, mode):
    own = anthropic.Anthropic(base_url=served.url, api_key=served.key)
    made = instructor.from_anthropic(own, mode=mode).messages
    found = made.create(model=MODEL, messages=ROME, max_tokens=64, response_model=City, max_retries=0)
    assert found.model_dump() == ROME_IS


def test_errors(served):
    for options, key, text, status in [
        ({"model": "gone"}, None, "Hello", "404"), ({}, "wrong", "Hello", "401"), ({}, None, TOO_LONG, "8192")
    ]:  # fmt: skip
        messages = [{"role": "user", "content": text}]
        made = client(served, instructor.Mode.TOOLS, key).chat.completions
        with pytest.raises(InstructorRetryException, match=status):
            made.create(**{"model": MODEL, **options}, messages=messages, response_model=City, max_retries=0)
