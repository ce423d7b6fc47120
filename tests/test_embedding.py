"""LLM.rerank, LLM.classify, and LLM.embed with prompts and dimensions, on tiny random models with vocabularies."""

import asyncio

import numpy as np
import pytest

from realizar import LLM, AsyncLLM
from realizar.arch import registry
from realizar.errors import ContextFullError, ParameterError, RealizarError
from realizar.testing import relative_error, tiny_metadata, tiny_model
from realizar.tokenizer.pairs import pair_ids
from tests.limits.models import LLAMA, rewritten
from tests.tokenizer.vocabularies import committed

TEMPLATE = "<|im_start|>Query: {query}\nDocument: {document}<|im_end|>\n"
QUERY = "the dog and the cat, which saw a house and a garden with a wall"
DOCUMENTS = ["the dog", "a cat in a house", "nothing", "the dog and the cat, which saw a house", "a wall"]
QWEN3 = {"tokenizer.chat_template.rerank": TEMPLATE, "qwen3.classifier.output_labels": ["yes", "no"]}


def written(folder, name, vocabulary, keys, optional=True):
    """The path of a tiny model with a real vocabulary; with a classification head if `optional`."""
    metadata = {**tiny_metadata(name), **committed(vocabulary)["metadata"], **keys}
    with tiny_model(registry.default().architecture(name), metadata, "Q8_0", folder, optional=optional) as model:
        return rewritten(model.file.path, folder / f"{name}-{optional}.gguf")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return written(tmp_path_factory.mktemp("bert"), "bert", "bert", {})


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    return written(tmp_path_factory.mktemp("qwen3"), "qwen3", "qwen2", QWEN3)


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def reranker(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def llm(reranker):
    with LLM(reranker, n_threads=1, n_ctx=256) as llm:
        yield llm


def test_best_documents_first(llm):
    pairs = [pair_ids(llm.tokenizer, QUERY, document) for document in DOCUMENTS]
    scores = llm.embed(pairs, pooling="rank")[:, 0]
    assert llm.rerank(QUERY, DOCUMENTS) == [(i, scores[i]) for i in np.argsort(-scores)]
    assert len(set(scores)) == len(DOCUMENTS)
    assert llm.rerank(QUERY, ()) == []


def test_equal_scores_stay_in_order(llm):
    assert [i for i, _ in llm.rerank(QUERY, ["a", "a", "a"])] == [0, 1, 2]


@pytest.mark.parametrize("params", [{"n_threads": 3}, {"n_batch": 100}, {"n_seqs": 1}])
def test_scores_are_bitwise_reproducible(llm, reranker, params):
    """Alone, together, in chunks, after a cached query."""
    want = dict(llm.rerank(QUERY, DOCUMENTS))
    assert dict(llm.rerank(QUERY, DOCUMENTS)) == want
    with LLM(reranker, **{"n_threads": 1, "n_ctx": 256, **params}) as other:
        for i, document in enumerate(DOCUMENTS):
            assert other.rerank(QUERY, [document]) == [(0, want[i])]
        assert dict(other.rerank(QUERY, DOCUMENTS[::-1])) == {len(DOCUMENTS) - 1 - i: want[i] for i in want}


def test_documents_of_a_decoder_share_the_query(qwen3):
    with LLM(qwen3, n_ctx=256) as llm:
        llm.rerank(QUERY, DOCUMENTS[:1])
        engine, computed = llm.engine, llm.stats().n_computed
        llm.rerank(QUERY, DOCUMENTS[1:2])
        n = len(pair_ids(llm.tokenizer, QUERY, DOCUMENTS[1]))
        assert llm.stats().n_computed - computed < n - 16
        assert engine.model.main == "decode"


def test_numpy_backend(reranker):
    scores = []
    for backend in ("cpu", "numpy"):
        with LLM(reranker, n_ctx=256, backend=backend, activations="f32", kv_type="f32") as llm:
            scores.append(llm.embed(DOCUMENTS, pooling="rank"))
    assert relative_error(*scores) < 1e-5


def test_prompt_in_place_of_the_template(llm):
    """Of a model with separators, too."""
    (found,) = llm.rerank(QUERY, ["a cat"], prompt="find {query} in {document}")
    ids = llm.tokenize(f"find {QUERY} in a cat", add_special=False)
    assert found == (0, llm.embed(ids, pooling="rank")[0, 0])
    with pytest.raises(ParameterError, match=r"a text with \{query\} and \{document\} is needed"):
        llm.rerank(QUERY, ["a cat"], prompt="{query}")


@pytest.mark.parametrize("documents", ["a cat", [3], [["a"]], None, {"a": 1}, [b"a"]])
def test_documents_must_be_a_list_of_texts(llm, documents):
    with pytest.raises(ParameterError, match=r"^rerank: a query and a list of documents"):
        llm.rerank(QUERY, documents)


def test_a_query_must_be_text(llm):
    with pytest.raises(ParameterError, match=r"^rerank: a query and a list of documents"):
        llm.rerank([1, 2], ["a"])


def test_a_pair_must_fit(llm):
    with pytest.raises(ContextFullError):
        llm.rerank(QUERY, [f"{QUERY} " * 20])


def test_two_classes(qwen3):
    with LLM(qwen3, n_ctx=256) as llm:
        found, raw = llm.classify(DOCUMENTS), llm.embed(DOCUMENTS, pooling="rank")
        for classes, row in zip(found, raw, strict=True):
            assert classes == {"yes": row[0], "no": row[1]}  # the head's output is a softmax
            assert list(classes.values()) == sorted(classes.values(), reverse=True)
            assert sum(classes.values()) == pytest.approx(1)
        assert llm.classify(llm.tokenize(DOCUMENTS[0])) == found[:1]
        assert llm.classify([]) == []
        assert llm.embed([], pooling="rank").shape == (0, 2)


def test_one_class(bert):
    with LLM(bert) as llm:
        (classes,), ((logit,),) = llm.classify("a cat"), llm.embed("a cat", pooling="rank")
        assert classes == {"LABEL_0": pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)}


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a", "a", "b"]])
def test_three_classes(tmp_path, labels):
    with LLM(written(tmp_path, "bert", "bert", {"bert.classifier.output_labels": labels})) as llm:
        names = labels if len(set(labels)) == 3 else ["LABEL_0", "LABEL_1", "LABEL_2"]
        (classes,), (row,) = llm.classify("a cat"), llm.embed("a cat", pooling="rank")
        power = np.exp(row - row.max())
        assert classes == pytest.approx(dict(zip(names, power / power.sum(), strict=True)), rel=1e-6)
        with pytest.raises(ParameterError, match=r"^rerank: the head has 3 classes \(.*\); use classify"):
            llm.rerank(QUERY, DOCUMENTS)


def test_without_a_head(tmp_path):
    for path in (LLAMA, written(tmp_path, "bert", "bert", {}, optional=False)):
        with LLM(path) as llm:
            for ask in (
                lambda llm=llm: llm.rerank(QUERY, DOCUMENTS),
                lambda llm=llm: llm.classify("a"),
                lambda llm=llm: llm.embed("a", pooling="rank"),
            ):
                with pytest.raises(ParameterError, match=r"has no classification head \(tensors cls\.\*\)"):
                    ask()


def test_an_output_that_is_no_number(reranker, tmp_path):
    def broken(name, data, shape, kind):
        return (name, np.full_like(data, 255) if name == "cls.output.weight" else data, shape, kind)

    path = rewritten(reranker, tmp_path / "broken.gguf", tensors=broken)
    with LLM(path, activations="f32") as llm:
        n = len(llm.tokenize("a cat"))
        with pytest.raises(RealizarError, match=f"^class 0 after token {n - 1} is nan"):
            llm.embed("a cat", pooling="rank")


def test_a_prompt_before_each_text(llm):
    texts = ["a cat", "the dog"]
    want = llm.embed([f"query: {text}" for text in texts], "mean")
    np.testing.assert_array_equal(llm.embed(texts, "mean", prompt="query: "), want)
    np.testing.assert_array_equal(llm.embed("a cat", "mean", prompt="query: "), want[:1])
    for wrong in ([1, 2], [[1, 2], "a"]):
        with pytest.raises(ParameterError, match=r"both must be text; put the prompt's ids before ids"):
            llm.embed(wrong, "mean", prompt="query: ")
    with pytest.raises(ParameterError, match=r"^prompt=3 before 'a cat': both must be text"):
        llm.embed(texts, "mean", prompt=3)


def test_dimensions(llm):
    whole = llm.embed(DOCUMENTS, "last", normalize=False)
    short = llm.embed(DOCUMENTS, "last", dimensions=64)
    np.testing.assert_allclose(short, whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True), rtol=1e-6)
    with pytest.raises(ParameterError, match=r"^dimensions=257: must be an integer in \[1, 256\]"):
        llm.embed(DOCUMENTS, "last", dimensions=257)


def test_dense_layers_change_the_width(tmp_path):
    keys = {"gemma-embedding.dense_2_feat_out": 512, "gemma-embedding.dense_3_feat_out": 64}
    path = written(tmp_path, "gemma-embedding", "llama", keys)
    with LLM(path) as llm:
        assert llm.embed(DOCUMENTS).shape == (len(DOCUMENTS), 64)
        assert llm.embed(DOCUMENTS, dimensions=64).shape == (len(DOCUMENTS), 64)
        with pytest.raises(ParameterError, match=r"in \[1, 64\]"):
            llm.embed(DOCUMENTS, dimensions=65)


def test_async(reranker):
    async def ask():
        async with AsyncLLM(reranker, n_ctx=256) as llm:
            return (
                await llm.rerank(QUERY, DOCUMENTS, priority=1),
                await llm.classify(DOCUMENTS),
                await llm.embed(DOCUMENTS, "rank"),
                await llm.embed(DOCUMENTS, "mean", prompt="query: ", dimensions=8),
            )

    ranks, classes, raw, vectors = asyncio.run(ask())
    with LLM(reranker, n_ctx=256) as llm:
        assert ranks == llm.rerank(QUERY, DOCUMENTS)
        assert classes == llm.classify(DOCUMENTS)
        np.testing.assert_array_equal(raw, llm.embed(DOCUMENTS, "rank"))
        np.testing.assert_array_equal(vectors, llm.embed(DOCUMENTS, "mean", prompt="query: ", dimensions=8))
