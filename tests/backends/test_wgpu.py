"""The wgpu backend gives the results of the CPU backend, except for rounding; on any adapter, also one in software."""

import os

import numpy as np
import pytest

from realizar import LLM
from realizar.backends.wgpu.backend import WgpuBackend
from realizar.engine.engine import Engine
from realizar.errors import DeviceError, ParameterError
from realizar.params import EngineParams, SamplingParams
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.backends.adapters import need_adapter
from tests.engine import test_encoders as encoders
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.test_encoders import encoded
from tests.engine.test_preemption import force
from tests.engine.test_same_bits import PROMPTS, SIZES, architecture, score
from tests.limits.models import LLAMA
from tests.runtime import test_plugin_ops as plugin_ops
from tests.runtime.test_parts import N, logits, mixed, model  # noqa: F401 - a fixture
from tests.runtime.test_plugin_ops import plugin  # noqa: F401 - a fixture

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
EXACT = {"n_threads": 1, "n_ctx": 160, "n_batch": 64, "activations": "f32", "kv_type": "f32"}
# dense, with a sliding window, mixture of experts, recurrent, MLA; the last four have ops that run on the host
FAMILIES = {
    "llama": ("llama", 0), "window": ("llama", 20), "olmoe": ("olmoe", 0), "qwen35": ("qwen35", 0),
    "deepseek2": ("deepseek2", 0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


@pytest.fixture(scope="module", params=FAMILIES)
def make(request, tmp_path_factory):
    """Return a function that creates engines of one tiny model."""
    name, window = FAMILIES[request.param]
    sizes = {"attention.sliding_window": window, **SIZES}
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    with tiny_model(architecture(name), metadata, "Q8_0", tmp_path_factory.mktemp("tiny")) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        yield lambda backend="wgpu", **params: Engine(tiny, EngineParams(**{**EXACT, "backend": backend, **params}))


def tokens(engine, *prompts):
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


def test_logits_and_completions_equal_those_of_the_kernels(make):
    """Prompts computed in one batch, and in chunks."""
    wgpu, cpu = make(), make("cpu")
    assert relative_error(score(wgpu, PROMPTS[0]), score(cpu, PROMPTS[0])) < TOLERANCE
    assert tokens(wgpu, *PROMPTS[2:]) == tokens(cpu, *PROMPTS[2:])
    check_cache(wgpu.cache, [])


def test_preempted_requests(make):
    prompts = PROMPTS[2:4]
    alone, engine = tokens(make(), *prompts), force(make(n_seqs=5), True)
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    for step in range(4):
        engine.step()
        if engine.scheduler.running and step % 3 == 0:
            engine.scheduler._preempt(engine.scheduler.running[step % len(engine.scheduler.running)])
    engine.wait(lambda: all(request.is_over for request in requests))
    assert [request.completion().token_ids for request in requests] == alone
    assert engine.scheduler.n_preempted > 0


def test_a_cached_prefix_is_reused(make):
    engine = make()
    prompt = [*PROMPTS[3], *PROMPTS[2]]
    for _ in range(2):
        tokens(engine, PROMPTS[3])
    request = engine.generate(prompt, GREEDY)
    engine.wait(lambda: request.is_over)
    assert request.completion().timings.n_cached > 0
    assert [request.completion().token_ids] == tokens(make("cpu"), prompt)


def session(model, type_name="f32", **options):  # noqa: F811
    backend = WgpuBackend()
    options = {"activations": "f32", "kv_type": type_name, **options}
    return Session(model, model.plan(passes=backend.passes), backend=backend, **options)


@pytest.mark.parametrize("kv_type", ["f32", "f16"])
def test_prompts_of_parts(model, kv_type):  # noqa: F811
    """Embeddings, positions with three axes and bidirectional spans, next to blocks full of NaN."""
    want = logits(Session(model, model.plan(), kv_type=kv_type, activations="f32"), mixed())
    found = logits(session(model, kv_type), mixed(), (0, 27, N))
    assert relative_error(found, want) < (TOLERANCE if kv_type == "f32" else 1e-3)


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


@pytest.mark.parametrize(
    "type_name", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
)
def test_weights_of_each_format_are_exact(type_name, tmp_path):
    metadata = {**tiny_metadata("llama"), "llama.block_count": 1}
    with tiny_model(architecture("llama"), metadata, type_name, tmp_path) as tiny:
        options = {"activations": "f32", "kv_type": "f32"}
        want = Session(tiny, tiny.plan(), **options).prompt(random_tokens(3), 3)["logits"]
        assert relative_error(session(tiny).prompt(random_tokens(3), 3)["logits"], want) < TOLERANCE


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_encoders(name, tmp_path):
    with encoders.tiny(name, tmp_path) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        cpu, wgpu = (
            encoders.engine(tiny, backend=backend, activations="f32", kv_type="f32") for backend in ("cpu", "wgpu")
        )
        texts = encoders.TEXTS[:2]
        for found, want in zip(encoded(wgpu, *texts), encoded(cpu, *texts), strict=True):
            assert relative_error(found, want) < TOLERANCE


def test_ops_of_plugins(plugin, tmp_path):  # noqa: F811
    with tiny_model(plugin_ops.Smooth(), tiny_metadata("smooth"), "F32", tmp_path) as smooth:
        path = smooth.file.path
    params = {"n_ctx": 64, "n_batch": 16, "activations": "f32", "kv_type": "f32"}
    found = {}
    for backend in ("wgpu", "cpu"):
        with LLM(path, backend=backend, n_threads=1, **params) as llm:
            found[backend] = llm.logits(random_tokens(20))
    assert relative_error(found["wgpu"], found["cpu"]) < TOLERANCE


def test_types_of_the_cache_without_a_kernel_are_errors():
    with pytest.raises(ParameterError, match="kv_type='q4': the wgpu backend has kernels for 'f16' and 'f32' alone"):
        LLM(LLAMA, n_ctx=64, backend="wgpu", kv_type="q4")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_that_it_has_no_device():
    with LLM(LLAMA, n_ctx=64, backend="wgpu") as llm:
        child = os.fork()
        if child == 0:
            try:
                llm.logits([1, 2])
            except DeviceError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
