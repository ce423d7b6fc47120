"""Embeddings, with OpenAI's own client; reranking and scores."""

import base64

import numpy as np
import pytest

openai = pytest.importorskip("openai", reason="needs the extra server, and openai")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar import LLM  # noqa: E402
from tests.server.serving import serving  # noqa: E402
from tests.test_embedding import QWEN3, written  # noqa: E402

TEXTS = ["the dog", "a cat in a house", "nothing"]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("served"), "qwen3", "qwen2", QWEN3)
    with serving(path) as server, LLM(path, n_threads=1, n_ctx=512) as llm:
        yield server, llm


def test_embeddings_are_those_of_the_library(client, model_path):
    with LLM(model_path, n_threads=1, n_ctx=512) as llm:
        want = llm.embed(TEXTS)
        ids = [llm.tokenize(text) for text in TEXTS]
    answer = client.embeddings.create(model="tiny", input=TEXTS)  # the client asks for base64
    np.testing.assert_array_equal(np.array([row.embedding for row in answer.data], np.float32), want)
    assert [row.index for row in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == sum(map(len, ids))
    floats = client.embeddings.create(model="tiny", input=ids, encoding_format="float")
    np.testing.assert_array_equal(np.array([row.embedding for row in floats.data], np.float32), want)


def test_one_text_and_fewer_dimensions(server):
    status, body = server.post("/v1/embeddings", {"input": "the dog", "dimensions": 8, "encoding_format": "base64"})
    assert status == 200
    vector = np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4")
    assert len(vector) == 8
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"input": []}, "input"), ({"input": ["a", ""]}, "token"), ({"input": "a", "dimensions": 10**6}, "dimensions"),
        ({"input": [10**6]}, "does not exist"), ({"input": ["a"] * 300}, "at most 256"),
        ({"input": "a b " * 600}, "512"), ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ],
)  # fmt: skip
def test_errors(server, body, text):
    status, answer = server.post("/v1/embeddings", body)
    assert status == 400
    assert text in answer["error"]["message"]


def test_reranking(reranker):
    server, llm = reranker
    want = llm.rerank("the dog", TEXTS)
    status, body = server.post("/v1/rerank", {"query": "the dog", "documents": [*TEXTS[:2], {"text": TEXTS[2]}]})
    assert status == 200
    assert [(row["index"], row["relevance_score"]) for row in body["results"]] == want
    assert [row["document"]["text"] for row in body["results"]] == [TEXTS[i] for i, _ in want]
    assert body["usage"]["total_tokens"] > 10
    shorter = {"query": "the dog", "documents": TEXTS, "top_n": 1, "return_documents": False}
    assert server.post("/v1/rerank", shorter)[1]["results"] == [{"index": want[0][0], "relevance_score": want[0][1]}]


def test_scores(reranker):
    server, llm = reranker
    want = dict(llm.rerank("the dog", TEXTS))
    body = server.post("/v1/score", {"text_1": "the dog", "text_2": TEXTS})[1]
    assert [row["score"] for row in body["data"]] == [want[i] for i in range(3)]
    pairs = server.post("/v1/score", {"text_1": ["the dog"] * 3, "text_2": TEXTS})[1]
    assert pairs["data"] == body["data"]
    assert server.post("/v1/score", {"text_1": ["a", "b"], "text_2": TEXTS})[0] == 400


def test_a_model_without_a_head_ranks_nothing(server):
    status, body = server.post("/v1/rerank", {"query": "the dog", "documents": TEXTS})
    assert status == 400
    assert "classification head" in body["error"]["message"]
