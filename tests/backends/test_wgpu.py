"""The wgpu backend gives the results of the CPU backend, except for rounding; on any adapter, also one in software."""

import gc
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM
from realizar.backends.wgpu import device
from realizar.backends.wgpu.backend import WgpuBackend
from realizar.backends.wgpu.forms import UNPACK, packed, row_bytes
from realizar.backends.wgpu.ops import linear_one
from realizar.engine.engine import Engine
from realizar.errors import DeviceError, RealizarError
from realizar.params import EngineParams, SamplingParams
from realizar.quants import FORMATS
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.backends.adapters import need_adapter
from tests.engine import test_encoders as encoders
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.test_encoders import encoded
from tests.engine.test_preemption import force, preempt_in_turn
from tests.engine.test_same_bits import PROMPTS, SIZES, architecture, score
from tests.limits.models import LLAMA
from tests.runtime import test_plugin_ops as plugin_ops
from tests.runtime.test_parts import N, logits, mixed, model  # noqa: F401 - a fixture
from tests.runtime.test_plugin_ops import plugin  # noqa: F401 - a fixture

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
EXACT = {"n_threads": 1, "n_ctx": 160, "n_batch": 64, "activations": "f32", "kv_type": "f32"}
FAMILIES = ("llama", "qwen35", "deepseek2")
"""Dense, recurrent, and with latent keys and experts."""


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


@pytest.fixture(scope="module")
def make(request, tmp_path_factory):
    """Return a function that creates engines of one tiny model."""
    name = request.param
    sizes = {**SIZES, "expert_count": 4 if name != "llama" else 0}
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    with tiny_model(architecture(name), metadata, "Q8_0", tmp_path_factory.mktemp("tiny")) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        yield lambda backend="wgpu", **params: Engine(tiny, EngineParams(**{**EXACT, "backend": backend, **params}))


def tokens(engine, *prompts):
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


@pytest.mark.parametrize("make", FAMILIES, indirect=True)
def test_logits_and_completions_equal_those_of_the_kernels(make):
    """Prompts computed in one batch, and in chunks."""
    wgpu, cpu = make(), make("cpu")
    assert relative_error(score(wgpu, PROMPTS[2]), score(cpu, PROMPTS[2])) < TOLERANCE
    assert tokens(wgpu, *PROMPTS[1:4]) == tokens(cpu, *PROMPTS[1:4])
    check_cache(wgpu.cache, [])


@pytest.mark.parametrize("make", ["qwen35"], indirect=True)
def test_preempted_requests(make):
    """Keys in device memory, and states, are copied to the host and back."""
    prompts = PROMPTS[2:4]
    alone, engine = tokens(make(), *prompts), force(make(n_seqs=5), True)
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    preempt_in_turn(engine, 4)
    engine.wait(lambda: all(request.is_over for request in requests))
    assert [request.completion().token_ids for request in requests] == alone
    assert engine.scheduler.n_preempted > 0


@pytest.mark.parametrize("make", ["llama"], indirect=True)
def test_a_cached_prefix_is_reused(make):
    engine = make()
    prompt = [*PROMPTS[3], *PROMPTS[2]]
    tokens(engine, PROMPTS[3])
    request = engine.generate(prompt, GREEDY)
    engine.wait(lambda: request.is_over)
    assert request.completion().timings.n_cached > 0
    assert [request.completion().token_ids] == tokens(make("cpu"), prompt)


def session(model, type_name="f32", **options):  # noqa: F811
    own = WgpuBackend()
    options = {"activations": "f32", "kv_type": type_name, **options}
    return Session(model, model.plan(passes=own.passes), backend=own, **options)


def test_prompts_of_parts(model):  # noqa: F811
    """Embeddings, positions with three axes and bidirectional spans, next to blocks full of NaN."""
    want = logits(Session(model, model.plan(), kv_type="f32", activations="f32"), mixed())
    assert relative_error(logits(session(model), mixed(), (0, 27, N)), want) < TOLERANCE


def test_bits_depend_neither_on_chunks_nor_on_other_sequences(model):  # noqa: F811
    prompt = random_tokens(20)
    alone = session(model).prompt(prompt, 20)["logits"]
    np.testing.assert_array_equal(session(model).prompt(prompt, 7)["logits"], alone)
    beside = session(model).step([(1, 0, random_tokens(5)), (0, 0, prompt), (2, 0, random_tokens(3))])["logits"]
    np.testing.assert_array_equal(beside[5:25], alone)


def test_unused_rows_are_not_computed(model):  # noqa: F811
    parts = [(1, 0, random_tokens(5)), (0, 0, random_tokens(20)), (2, 0, random_tokens(3))]
    made = session(model)
    every = made.step(parts)["logits"]
    wanted = np.array([2, 26, 27], np.int32)
    np.testing.assert_array_equal(made.step(parts, outputs=wanted)["logits"], every[wanted])
    assert len(made.step(parts, outputs=wanted[:0])["logits"]) == 0


TYPES = ("F16", "BF16", *UNPACK)


@pytest.mark.parametrize("type_name", TYPES)
def test_products_with_weights_of_each_format(type_name, tmp_path):
    """Exact with float32; with int8 as on the CPU, by the kernels for few rows."""
    with tiny_model(architecture("llama"), tiny_metadata("llama"), type_name, tmp_path) as tiny:
        for activations in ("f32", "int8"):
            found, want = last_products(tiny, activations, 3)
            assert relative_error(found, want) < TOLERANCE


@pytest.mark.parametrize("type_name", UNPACK)
def test_weights_take_as_many_bytes_as_in_the_file(type_name):
    """All but 3 %, in rows of 2048 elements."""
    found = FORMATS[type_name]
    rows = np.zeros((3, 2048 // found.n_elements * found.n_bytes), np.uint8)
    planes = packed(rows, type_name)
    assert sum(plane.nbytes for plane in planes.values()) <= 1.03 * rows.nbytes
    assert row_bytes(type_name, 2048) == max(plane.nbytes // 3 for plane in planes.values())


def last_products(tiny, activations, n, changes=None):
    """Return the logits of n rows that are given in place of the last norm, by the wgpu and by the CPU backend."""
    graph = tiny.graphs["decode"]
    node = next(node for node in graph.nodes if graph.outputs["logits"] in node.outputs)
    given = [graph.values[node.inputs[0]].name]
    own = WgpuBackend()
    if changes is not None:
        own.device = replace(own.device, **changes)
    options = {"activations": activations, "kv_type": "f32"}
    rng = np.random.default_rng(0)
    x = {given[0]: rng.standard_normal((n, *graph.values[node.inputs[0]].shape), np.float32)}
    found = []
    for one in (own, None):
        plan = tiny.plan(overrides=given, **({} if one is None else {"passes": one.passes}))
        made = Session(tiny, plan, backend=one, **options)
        found.append(made.step([(0, 0, random_tokens(n))], x)["logits"])
    return found


@pytest.mark.parametrize("type_name", ["Q4_K", "Q6_K"])
def test_tiles(type_name, tmp_path):
    """Products with many rows, which a software adapter computes otherwise unless it is told to use tiles."""
    with tiny_model(architecture("llama"), tiny_metadata("llama"), type_name, tmp_path) as tiny:
        found, want = last_products(tiny, "int8", 70, {"uses_tiles": True})
        assert relative_error(found, want) < TOLERANCE


def test_teams_in_subgroups(monkeypatch, tmp_path):
    """Sums within subgroups, which a software adapter has with as few as four invocations."""
    monkeypatch.setattr(linear_one, "TEAMS", (4, 4))
    with tiny_model(architecture("llama"), tiny_metadata("llama"), "Q4_K", tmp_path) as tiny:
        for n in (1, 3):
            found, want = last_products(tiny, "int8", n, {"subgroup_size": 4})
            assert relative_error(found, want) < TOLERANCE


def test_splits_of_long_sequences_do_not_change_bits(tmp_path):
    """The last row of a long prompt, and the same row by itself, whose keys are divided among workgroups."""
    sizes = {"llama.block_count": 1, "llama.context_length": 704, "llama.attention.sliding_window": 300}
    ids = random_tokens(601)
    with tiny_model(architecture("llama"), {**tiny_metadata("llama"), **sizes}, "Q8_0", tmp_path) as tiny:
        made = session(tiny, "f16", n_ctx=704, n_seqs=2)
        last = np.array([600], np.int32)
        whole = made.step([(0, 0, ids)], outputs=last)["logits"]
        made.step([(1, 0, ids[:600])], outputs=last[:0])
        np.testing.assert_array_equal(made.step([(1, 600, ids[600:])])["logits"], whole)


@pytest.mark.parametrize("name", ["llama", "phi2"])
def test_steps_of_one_row_have_the_bits_of_a_prompt(name, tmp_path):
    """Norms and rounding within products, and keys that attention stores, from a sequence's first row on."""
    with tiny_model(architecture(name), tiny_metadata(name), "Q4_K", tmp_path) as tiny:
        made, ids = session(tiny, "f16", activations="int8"), random_tokens(20)
        whole = made.step([(0, 0, ids)])["logits"]
        np.testing.assert_array_equal(made.prompt(ids, 1, sequence=1)["logits"], whole)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_encoders(name, tmp_path):
    with encoders.tiny(name, tmp_path) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        cpu, wgpu = (encoders.engine(tiny, backend=own, activations="f32", kv_type="f32") for own in ("cpu", "wgpu"))
        texts = encoders.TEXTS[:2]
        for found, want in zip(encoded(wgpu, *texts), encoded(cpu, *texts), strict=True):
            assert relative_error(found, want) < TOLERANCE


def test_ops_of_plugins(plugin, tmp_path):  # noqa: F811
    with tiny_model(plugin_ops.Smooth(), tiny_metadata("smooth"), "F32", tmp_path) as smooth:
        path = smooth.file.path
    params = {"n_ctx": 64, "n_batch": 16, "activations": "f32", "kv_type": "f32"}
    found = {}
    for name in ("wgpu", "cpu"):
        with LLM(path, backend=name, n_threads=1, **params) as llm:
            found[name] = llm.logits(random_tokens(20))
    assert relative_error(found["wgpu"], found["cpu"]) < TOLERANCE


def test_the_error_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wgpu", None)
    with pytest.raises(RealizarError, match=r"GPUs need the package wgpu .*pip install 'realizar\[gpu\]'"):
        device._open(os.getpid())


def test_a_lost_device_ends_requests_with_a_typed_error(monkeypatch):
    """And nothing else: the process goes on, and a model that is opened later gets another device."""
    own = device._open(os.getpid())  # not the one that other tests share
    monkeypatch.setattr(device, "_devices", {(os.getpid(), 0): own})
    with LLM(LLAMA, n_ctx=64, backend="wgpu") as llm:
        want = llm.logits([1, 2])
        running = [llm.events(prompt, replace(GREEDY, max_tokens=50)) for prompt in ("Once", "Twice")]
        next(running[0])
        run = llm.engine.runner.run

        def run_without_device(*arguments):
            own.gpu.destroy()  # between two steps: a driver loses devices in its own time, other threads may not
            return run(*arguments)

        monkeypatch.setattr(llm.engine.runner, "run", run_without_device)
        with pytest.raises(DeviceError):
            llm.logits([1, 2])
        assert [type(list(handle)[-1].error) for handle in running] == [DeviceError] * 2
        with LLM(LLAMA, n_ctx=64, backend="wgpu") as other:
            assert other.engine.runner.backend.device is not own
            np.testing.assert_array_equal(other.logits([1, 2]), want)


def test_a_gpu_that_does_not_exist():
    with pytest.raises(DeviceError, match="there is no GPU number 77; there are: gpu:0 "):
        WgpuBackend(77)


def cannot_open():
    """Return 0 if a model cannot be opened in this process, where the driver would wait for threads of the parent."""
    try:
        LLM(LLAMA, n_ctx=64, backend="wgpu")
    except DeviceError as error:
        return 0 if "before the fork" in str(error) else 3
    return 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_that_it_has_no_device():
    gc.collect()  # a device that is garbage would be freed in the child, which waits for threads that it lacks
    with LLM(LLAMA, n_ctx=64, backend="wgpu") as llm:
        child = os.fork()
        if child == 0:
            try:
                llm.logits([1, 2])
            except DeviceError:
                os._exit(cannot_open())
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
