"""dspy: signatures, typed signatures, tools, streams of modules."""

import asyncio

import dspy
import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMAuthError, LMUnsupportedModelError

from tests.clients.served import ANSWER, MODEL, TOO_LONG


def model(served, name=MODEL, key=None, **options):
    return dspy.LM(
        f"openai/{name}", api_base=served.v1, api_key=key or served.key, cache=False, num_retries=0, max_tokens=200,
        **options,
    )  # fmt: skip


def test_a_call(served):
    assert model(served)("Which is the capital of Italy?") == [ANSWER]


def test_several_completions(served):
    assert model(served, n=2, temperature=1.0)("Which is the capital of Italy?") == [ANSWER] * 2


@pytest.mark.parametrize("adapter", [dspy.JSONAdapter])
def test_a_signature(served, adapter):
    """The adapter asks for JSON by a schema of the signature; its prompt ends with a name of our script."""
    with dspy.context(lm=model(served), adapter=adapter()):
        found = dspy.Predict("question: str -> name: str, country: str")(question="Describe Rome.")
    assert isinstance(found.name, str)
    assert isinstance(found.country, str)


def test_embeddings(served):
    embedder = dspy.Embedder(f"openai/{MODEL}", api_base=served.v1, api_key=served.key, caching=False)
    assert embedder(["a cat", "a dog"]).shape[0] == 2


def test_asynchronous(served):
    assert asyncio.run(model(served).acall("Which is the capital of Italy?")) == [ANSWER]


def test_errors(served):
    with pytest.raises(LMUnsupportedModelError):
        model(served, name="gone")("Hello")
    with pytest.raises(LMAuthError):
        model(served, key="wrong")("Hello")
    with pytest.raises(ContextWindowExceededError):
        model(served)(TOO_LONG)
