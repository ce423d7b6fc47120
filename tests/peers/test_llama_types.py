"""The results of realizar.compat.Llama are of the types that llama-cpp-python declares for its own."""

import pytest

from realizar.compat import Llama
from tests.server.serving import QUESTION, TOOLS, write_model

types = pytest.importorskip("llama_cpp.llama_types", reason="needs llama-cpp-python (extra peers)")
pydantic = pytest.importorskip("pydantic")


def check(kind, value):
    """Raise unless a value has the keys and types of a TypedDict, and no others."""
    assert pydantic.TypeAdapter(kind).validate_python(value, strict=True) == value  # keys of others are dropped


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    found = Llama(write_model(tmp_path_factory.mktemp("types") / "tiny.gguf"), n_threads=1, pooling_type=1)
    yield found
    found.close()


@pytest.mark.parametrize("given", [{}, {"logprobs": 2}, {"logprobs": 2, "echo": True}])
def test_completions(llama, given):
    check(types.CreateCompletionResponse, llama("A text.", max_tokens=5, **given))
    for chunk in llama("A text.", max_tokens=5, stream=True, **given):
        check(types.CreateCompletionStreamResponse, chunk)


@pytest.mark.parametrize(
    "given", [{}, {"logprobs": True, "top_logprobs": 2}, {"tools": TOOLS, "tool_choice": "required"}]
)
def test_chat_completions(llama, given):
    check(types.CreateChatCompletionResponse, llama.create_chat_completion(QUESTION, max_tokens=100, **given))
    for chunk in llama.create_chat_completion(QUESTION, max_tokens=100, stream=True, **given):
        check(types.CreateChatCompletionStreamResponse, chunk)


def test_embeddings(llama):
    check(types.CreateEmbeddingResponse, llama.create_embedding(["A text.", "Another"]))
