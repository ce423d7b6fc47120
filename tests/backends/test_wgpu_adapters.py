"""Adapters on the wgpu backend: the tests of the CPU backend, and how factors lie in device memory."""

import gc

import numpy as np
import pytest

from realizar.backends.wgpu import adapters
from realizar.backends.wgpu.adapters import AdapterPool
from realizar.backends.wgpu.device import open_device
from realizar.backends.wgpu.native import Commands, Copy
from realizar.runtime.adapters import Adapter, Factors
from realizar.testing import relative_error
from tests.backends.adapters import need_adapter
from tests.engine import test_adapters as on_cpu
from tests.engine.test_adapters import (  # noqa: F401 - they run here, too
    USES,
    completions,
    loaded,
    logits,
    test_activated_adapters,
    test_adapters_are_added_and_removed_while_requests_run,
    test_every_kind_of_request,
    test_no_adapter_costs_nothing,
    test_prefixes_are_kept_apart,
    test_scales_of_zero_and_several_adapters,
    test_the_kernels_compute_what_the_definition_says,
)


@pytest.fixture(autouse=True)
def _backend(monkeypatch):
    need_adapter()
    monkeypatch.setitem(on_cpu.OPTIONS, "backend", "wgpu")


def test_bits_do_not_depend_on_the_others(tmp_path):
    """Alone and next to requests with other adapters, and in chunks."""
    everything = range(len(USES))
    with loaded(folder=tmp_path) as llm:
        together = completions(llm, everything)
        for i in everything:
            assert completions(llm, [i]) == {i: together[i]}, USES[i]
    with loaded(folder=tmp_path, n_batch=7) as llm:
        assert completions(llm, everything) == together


def test_results_are_those_of_the_cpu(tmp_path):
    options = {"activations": "f32", "kv_type": "f32", "folder": tmp_path}
    with loaded(**options) as llm, loaded(backend="cpu", **options) as cpu:
        for use in USES:
            assert relative_error(logits(llm, *use), logits(cpu, *use)) < 1e-5, use


def contents(pool, adapter, name):
    """The factors of an adapter in the buffer, as float32."""
    at, n = pool._laid[adapter][name], pool.buffer.size
    commands = Commands(pool._device)
    staging = pool._device.buffer(n, reads_back=True)
    commands.submit(None, (), [Copy(pool.buffer, 0, staging, 0, n)])
    return commands.read(staging, n).view(np.uint32)[at.a :]


def test_factors_stay_when_the_buffer_grows_and_freed_memory_is_used_again():
    pool = AdapterPool(open_device())
    rng = np.random.default_rng(0)

    def new(n):
        factors = Factors(rng.standard_normal((2, n), np.float32), rng.standard_normal((n, 2), np.float32))
        return Adapter("lora", {"w": factors}, "random")

    kept, freed = new(100), new(300)
    for adapter in (kept, freed):
        pool.laid(adapter, "w", adapter.factors["w"])
    words = contents(pool, kept, "w")[:400].view(np.float32)
    f = kept.factors["w"]
    np.testing.assert_array_equal(words, np.concatenate([f.a.reshape(-1), f.b.T.reshape(-1)]))
    size = pool.buffer.size
    del adapter, freed
    gc.collect()
    again = new(300)
    pool.laid(again, "w", again.factors["w"])
    assert pool.buffer.size == size
    more = new(5000)
    pool.laid(more, "w", more.factors["w"])
    assert pool.buffer.size > size
    np.testing.assert_array_equal(contents(pool, kept, "w")[:400].view(np.float32), words)
    pool.close()


def test_rows_of_halves_are_padded_to_words():
    found = adapters._rows(np.ones((2, 3), np.float16)).view(np.float16).reshape(2, 4)
    np.testing.assert_array_equal(found, [[1, 1, 1, 0]] * 2)
