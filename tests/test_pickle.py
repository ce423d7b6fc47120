"""pickle(llm): another process loads the model anew, by its path and params."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller

import pytest

from realizar import LLM, AsyncLLM, SamplingParams
from realizar.errors import RealizarError
from tests.server.serving import write_model

GREEDY = SamplingParams(temperature=0.0, max_tokens=5, ignore_eos=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pickle") / "tiny.gguf")


@pytest.fixture
def llm(path):
    with LLM(path, n_threads=1, n_ctx=256, n_seqs=2, kv_type="f32") as llm:
        yield llm


def answer(llm):
    with llm:
        return llm.params, llm.generate("A text.", GREEDY)[0].token_ids


@pytest.mark.parametrize("make", [lambda llm: pickle.loads(pickle.dumps(llm)), copy.copy, copy.deepcopy])
def test_another_model_with_the_same_params(llm, make):
    other = make(llm)
    assert other.engine is not llm.engine
    assert answer(other) == (llm.params, llm.generate("A text.", GREEDY)[0].token_ids)


def test_relative_paths_become_absolute(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with LLM("tiny.gguf", n_threads=1, n_ctx=64, draft="tiny.gguf") as llm:
        pickled = pickle.dumps(llm)
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as other:
        assert other.portable_name == other.params.draft == str(path)


def test_async_llm(path):
    import asyncio

    async def ask():
        async with AsyncLLM(path, n_threads=1, n_ctx=64) as llm, pickle.loads(pickle.dumps(llm)) as other:
            assert isinstance(other, AsyncLLM)
            return [(await each.generate("A text.", GREEDY))[0].token_ids for each in (llm, other)]

    first, second = asyncio.run(ask())
    assert first == second


def test_spawned_process(llm):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        (completion,) = pool.submit(methodcaller("generate", "A text.", GREEDY), llm).result()
    assert completion.token_ids == llm.generate("A text.", GREEDY)[0].token_ids


def test_closed_model(llm):
    llm.close()
    with pytest.raises(RealizarError, match="closed"):
        pickle.dumps(llm)
    assert repr(llm).endswith("tiny.gguf': closed>")


def test_params_and_results_pickle(llm):
    params = SamplingParams(temperature=0.5, structured_outputs={"regex": "a+"})
    assert pickle.loads(pickle.dumps(params)) == params
    completion = llm.generate("A text.", GREEDY)[0]
    assert pickle.loads(pickle.dumps(completion)) == completion
