"""The wgpu backend with rounded types of the KV cache: the results of the CPU backend, except for rounding."""

import numpy as np
import pytest

from realizar.backends.wgpu.backend import WgpuBackend
from realizar.engine.engine import Engine
from realizar.params import EngineParams, SamplingParams
from realizar.testing import Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.backends.adapters import need_adapter
from tests.engine import test_encoders as encoders
from tests.engine.fake import FakeTokenizer
from tests.engine.test_encoders import encoded
from tests.engine.test_preemption import force, preempt_in_turn
from tests.engine.test_same_bits import PROMPTS, architecture
from tests.runtime.test_parts import N, logits, mixed, model  # noqa: F401 - a fixture

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
PAIRS = ["int8", "q4", ("f16", "int8"), ("q4", "f32")]
HALVES = 3e-3
"""Relative error of logits if a few elements half way between two integers are rounded to the other one; rounding all
of them to int8 changes the logits of these models by 0.02, to q4 by 0.2."""


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


def session(tiny, kv_type, backend=None, **options):
    plan = tiny.plan() if backend is None else tiny.plan(passes=backend.passes)
    return Session(tiny, plan, backend=backend, activations="f32", kv_type=kv_type, **options)


@pytest.mark.parametrize("kv_type", PAIRS)
def test_logits_equal_those_of_the_kernels(model, kv_type):  # noqa: F811
    """Full and windowed attention, latents and ALiBi, in chunks, next to blocks full of NaN."""
    want = logits(session(model, kv_type), mixed())
    assert relative_error(logits(session(model, kv_type, WgpuBackend()), mixed(), (0, 27, N)), want) < HALVES


@pytest.mark.parametrize("kv_type", ["int8", "q4"])
def test_heads_of_any_size(kv_type, tmp_path):
    """20 elements of a key are transformed 4 at a time, and fill no number of words; 18 of a value 2 at a time."""
    sizes = {"attention.key_length": 20, "attention.value_length": 18, "rope.dimension_count": 20, "block_count": 1}
    metadata = {**tiny_metadata("llama"), **{f"llama.{key}": value for key, value in sizes.items()}}
    with tiny_model(architecture("llama"), metadata, "F16", tmp_path) as tiny:
        found, want = (session(tiny, kv_type, own).prompt(random_tokens(70), 30) for own in (WgpuBackend(), None))
        assert relative_error(found["logits"], want["logits"]) < HALVES


@pytest.mark.parametrize("kv_type", ["int8", "q4"])
def test_bits_depend_neither_on_chunks_nor_on_other_sequences(model, kv_type):  # noqa: F811
    prompt = random_tokens(20)
    alone = session(model, kv_type, WgpuBackend()).prompt(prompt, 20)["logits"]
    np.testing.assert_array_equal(session(model, kv_type, WgpuBackend()).prompt(prompt, 7)["logits"], alone)
    beside = session(model, kv_type, WgpuBackend()).step([(1, 0, random_tokens(5)), (0, 0, prompt)])["logits"]
    np.testing.assert_array_equal(beside[5:], alone)


def test_splits_of_long_sequences_do_not_change_bits(tmp_path):
    """The last row of a long prompt, and the same row by itself, whose keys are divided among workgroups."""
    sizes = {"llama.block_count": 1, "llama.context_length": 640}
    ids = random_tokens(601)
    with tiny_model(architecture("llama"), {**tiny_metadata("llama"), **sizes}, "Q8_0", tmp_path) as tiny:
        made = session(tiny, "q4", WgpuBackend(), n_ctx=640, n_seqs=2)
        last = np.array([600], np.int32)
        whole = made.step([(0, 0, ids)], outputs=last)["logits"]
        made.step([(1, 0, ids[:600])], outputs=last[:0])
        np.testing.assert_array_equal(made.step([(1, 600, ids[600:])])["logits"], whole)


def test_keys_that_are_not_finite(model):  # noqa: F811
    """NaN and infinities of a row reach the logits of its sequence alone."""
    prompt = random_tokens(9)
    made = session(model, "q4", WgpuBackend())
    clean = made.step([(0, 0, prompt)])["logits"]
    rows = np.zeros((1, 256), np.float32)
    rows[0, 3] = np.inf
    other = {"embeddings": rows, "embedding_rows": np.array([2], np.int32)}
    bad = [*prompt[:2], 0, *prompt[3:]]
    found = made.step([(1, 0, bad), (0, 0, prompt)], **other)["logits"]
    assert not np.isfinite(found[2]).all()
    np.testing.assert_array_equal(found[9:], clean)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function that creates engines of one tiny model with an int8 and a q4 cache."""
    with tiny_model(architecture("llama"), tiny_metadata("llama"), "Q8_0", tmp_path_factory.mktemp("tiny")) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        params = {"n_threads": 1, "n_ctx": 160, "n_batch": 64, "activations": "f32", "kv_type": ("int8", "q4")}
        yield lambda backend="wgpu", **own: Engine(tiny, EngineParams(**{**params, "backend": backend, **own}))


def tokens(engine, *prompts):
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


def test_blocks_are_saved_copied_and_shared(make):
    """Preempted requests, forks of a prompt and a cached prefix continue with the same bits."""
    prompts = PROMPTS[2:4]
    alone, engine = tokens(make(), *prompts), force(make(n_seqs=5), True)
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    preempt_in_turn(engine, 4)
    engine.wait(lambda: all(request.is_over for request in requests))
    assert [request.completion().token_ids for request in requests] == alone
    assert engine.scheduler.n_preempted > 0
    assert tokens(engine, *prompts) == alone


def test_encoders(tmp_path):
    with encoders.tiny("t5", tmp_path) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        own = {"activations": "f32", "kv_type": "int8"}
        cpu, wgpu = (encoders.engine(tiny, backend=name, **own) for name in ("cpu", "wgpu"))
        found, want = (encoded(engine, encoders.TEXTS[0])[0] for engine in (wgpu, cpu))
        assert relative_error(found, want) < HALVES


def test_a_cache_is_as_small_as_on_the_cpu(make):
    found, want = (make(name, kv_type="q4").cache.storage.n_bytes for name in ("wgpu", "cpu"))
    assert found == want
