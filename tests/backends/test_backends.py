"""Choosing a backend by name, and closing it: its threads end and its memory is freed, even if references remain."""

import asyncio
import os
import subprocess
import sys
import weakref
from typing import get_args

import pytest

from realizar import LLM, AsyncLLM, backends
from realizar.errors import ParameterError, RealizarError
from realizar.params import BackendName, EngineParams, SamplingParams
from tests.backends.adapters import missing, need_adapter
from tests.limits.models import LLAMA

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)


@pytest.fixture(params=get_args(BackendName))
def name(request):
    if request.param == "wgpu":
        need_adapter()
    return request.param


def test_every_backend_name_creates_a_backend():
    assert tuple(backends.BACKENDS) == get_args(BackendName)
    names = [name for name in backends.BACKENDS if name != "wgpu" or missing() is None]
    made = {name: type(backends.make(EngineParams(n_threads=1, backend=name))).__name__ for name in names}
    want = {"cpu": "CPUBackend", "numpy": "NumpyBackend", "wgpu": "WgpuBackend"}
    assert made == {name: want[name] for name in names}


@pytest.mark.parametrize("wrong", ["gpu", "CPU", "", None, ["cpu"]])
def test_an_unknown_name_is_an_error_that_lists_the_names(wrong):
    with pytest.raises(ParameterError, match=r"backend=.*: must be 'cpu' or 'numpy' or 'wgpu'"):
        LLM(LLAMA, backend=wrong)


def test_only_the_default_backend_is_imported_with_the_package():
    code = (
        "import sys\nfrom realizar import LLM, backends\nfrom realizar.params import EngineParams\n"
        "loaded = lambda: {m.split('.')[2] for m in sys.modules if m.startswith('realizar.backends.')}\n"
        "assert not {'numpy', 'wgpu'} & loaded(), loaded()\n"
        "backends.make(EngineParams(backend='numpy'))\n"
        "assert 'numpy' in loaded(), loaded()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_closed_engine_frees_its_memory_while_referenced(name):
    llm = LLM(LLAMA, n_threads=2, n_ctx=64, backend=name)
    engine, handle = llm.engine, llm.events("Once", GREEDY)
    assert len(list(handle)) > 0
    program, storage = engine.runner.program(None), engine.cache.storage
    assert min(program.n_bytes, storage.n_bytes) > 0
    held = [weakref.ref(array) for at in getattr(storage, "layers", ()) for array in (at.k, at.v)]
    llm.close()
    assert (program.n_bytes, storage.n_bytes) == (0, 0)
    assert [ref for ref in held if ref() is not None] == []
    with pytest.raises(RealizarError, match="the backend of this program is closed"):
        program.run(None)
    engine.runner.backend.close()  # again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("computes", [True, False])
def test_a_forked_process_closes_its_copy(name, computes):
    if name == "wgpu" and computes:
        pytest.skip("a forked process cannot use a GPU; test_wgpu.py checks the error")
    llm = LLM(LLAMA, n_threads=2, n_ctx=64, backend=name)
    want = [c.text for c in llm.generate("Once", GREEDY)]
    child = os.fork()
    if child == 0:
        right = not computes or [c.text for c in llm.generate("Once", GREEDY)] == want
        llm.close()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [c.text for c in llm.generate("Once", GREEDY)] == want
    llm.close()


def test_async_llm(name):
    async def ask():
        async with AsyncLLM(LLAMA, n_threads=1, n_ctx=64, backend=name) as llm:
            return await llm.generate("Once", GREEDY)

    with LLM(LLAMA, n_threads=1, n_ctx=64, backend=name) as llm:
        assert [c.token_ids for c in asyncio.run(ask())] == [c.token_ids for c in llm.generate("Once", GREEDY)]
