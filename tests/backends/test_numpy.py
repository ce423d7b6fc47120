"""The numpy backend gives the results of the CPU backend, except for rounding."""

from dataclasses import replace

import numpy as np
import pytest

from realizar import LLM
from realizar.backends.numpy.backend import NumpyBackend
from realizar.engine.engine import Engine
from realizar.errors import GraphError, ParameterError
from realizar.graph import OpSpec
from realizar.params import EngineParams, SamplingParams
from realizar.runtime.backend import CompileParams
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.engine import test_encoders as encoders
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.speculation.oracle import FlatCost, Oracle
from tests.engine.speculation.test_draft_model import models  # noqa: F401 - a fixture
from tests.engine.test_encoders import answers, encoded
from tests.engine.test_preemption import force, preempt_in_turn
from tests.engine.test_same_bits import PROMPTS, SIZES, architecture, score
from tests.isa import every
from tests.runtime import test_plugin_ops as plugin_ops
from tests.runtime.test_parts import N, logits, mixed, model  # noqa: F401 - a fixture
from tests.runtime.test_plugin_ops import plugin  # noqa: F401 - a fixture

GREEDY = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)
EXACT = {"n_threads": 1, "n_ctx": 160, "n_batch": 64, "activations": "f32", "kv_type": "f32"}
# dense, with a sliding window, mixture of experts, recurrent, MLA; toy has full and window layers and states
FAMILIES = {
    "llama": ("llama", 0), "window": ("llama", 20), "olmoe": ("olmoe", 0), "mamba2": ("mamba2", 0),
    "qwen35": ("qwen35", 0), "rwkv7": ("rwkv7", 0), "deepseek2": ("deepseek2", 0), "toy": ("toy", 0),
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def make(request, tmp_path_factory):
    """Return a function that creates engines of one tiny model."""
    name, window = FAMILIES[request.param]
    sizes = {"attention.sliding_window": window, **SIZES}
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    with tiny_model(architecture(name), metadata, "Q8_0", tmp_path_factory.mktemp("tiny")) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        yield lambda backend="numpy", **params: Engine(tiny, EngineParams(**{**EXACT, "backend": backend, **params}))


def tokens(engine, *prompts, params=GREEDY):
    requests = [engine.generate(prompt, params) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


def test_logits_and_completions_equal_those_of_the_kernels(make):
    """Prompts computed in one batch, in chunks, and with block summaries computed by the sampler."""
    numpy, cpu = make(), make("cpu")
    assert relative_error(score(numpy, PROMPTS[0]), score(cpu, PROMPTS[0])) < TOLERANCE
    sampled = SamplingParams(seed=3, max_tokens=8, top_k=20, ignore_eos=True)
    for params in (GREEDY, sampled):
        assert tokens(numpy, *PROMPTS, params=params) == tokens(cpu, *PROMPTS, params=params)
    check_cache(numpy.cache, [])


@pytest.mark.parametrize("prefers_copy", every(2, [True, False]), ids=["copied", "computed again"])
def test_preempted_requests(make, prefers_copy):
    alone, engine = tokens(make(), *PROMPTS), force(make(n_seqs=5), prefers_copy)
    requests = [engine.generate(prompt, GREEDY) for prompt in PROMPTS]
    preempt_in_turn(engine, 8)
    engine.wait(lambda: all(request.is_over for request in requests))
    assert [request.completion().token_ids for request in requests] == alone
    assert engine.scheduler.n_preempted >= 3
    check_cache(engine.cache, [])


def test_a_cached_prefix_is_reused(make):
    engine = make()
    prompt = [*PROMPTS[0], *PROMPTS[3]]
    for _ in range(2):
        tokens(engine, PROMPTS[0])
    request = engine.generate(prompt, GREEDY)
    engine.wait(lambda: request.is_over)
    assert request.completion().timings.n_cached == 96
    assert [request.completion().token_ids] == tokens(make(), prompt)


@pytest.mark.parametrize("kv_type", every(3, ["f32", "f16", "int8", "q4"]))
def test_chunks_of_a_prompt_change_the_rounding_only(make, kv_type):
    whole = score(make(kv_type=kv_type, n_batch=100), PROMPTS[0])
    assert relative_error(score(make(kv_type=kv_type, n_batch=7), PROMPTS[0]), whole) < TOLERANCE


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_encoders(name, tmp_path):
    with encoders.tiny(name, tmp_path) as tiny:
        tiny.__dict__["tokenizer"] = FakeTokenizer()
        cpu, numpy = (
            encoders.engine(tiny, backend=backend, activations="f32", kv_type="f32") for backend in ("cpu", "numpy")
        )
        texts = encoders.TEXTS
        for found, want in zip(encoded(numpy, *texts), encoded(cpu, *texts), strict=True):
            assert relative_error(found, want) < TOLERANCE
        if name == "t5":
            assert answers(numpy, *texts) == answers(cpu, *texts)


def test_positions_beyond_a_learned_table(tmp_path):
    with encoders.tiny("bert", tmp_path) as tiny, pytest.raises(ParameterError, match="has only 100 positions"):
        encoders.engine(tiny, n_ctx=101, backend="numpy")


@pytest.mark.parametrize("cuts", [(0, N), (0, 27, 50, N)])
@pytest.mark.parametrize("kv_type", ["f32", "f16"])
def test_prompts_of_parts(model, kv_type, cuts):  # noqa: F811
    """Embeddings, positions with three axes and bidirectional spans, next to blocks full of NaN."""
    prompt, options = mixed(), {"kv_type": kv_type, "activations": "f32"}
    want = logits(Session(model, model.plan(), **options), prompt)
    numpy = NumpyBackend()
    found = logits(Session(model, model.plan(passes=numpy.passes), backend=numpy, **options), prompt, cuts)
    assert relative_error(found, want) < (TOLERANCE if kv_type == "f32" else 1e-3)


def test_a_batch_is_checked(model):  # noqa: F811
    session = Session(model, model.plan(passes=()), backend=NumpyBackend())
    for field, value, message in (
        ("tokens", [999], r"tokens: ids must be in \[0, 288\)"),
        ("adapters", [1], "adapters: 1; this program was compiled without adapters"),
        ("positions", [[0], [0]], "positions: 2 axes; this program has 3"),
    ):
        with pytest.raises(ParameterError, match=message):
            session.step([(0, 0, [0])], **{field: np.array(value, np.int32)})


def test_any_value_is_an_output_and_any_can_be_overridden(model):  # noqa: F811
    names = ["logits", *(value.name for value in model.graphs["decode"].values)]
    session = Session(model, model.plan("decode", names, passes=()), backend=NumpyBackend())
    found = session.step([(1, 0, random_tokens(5)), (0, 0, random_tokens(20))])
    overridden = ["token_embd", names[len(names) // 2]]
    plan = model.plan(overrides=overridden, passes=())
    again = Session(model, plan, backend=NumpyBackend()).step(
        [(1, 0, random_tokens(5)), (0, 0, random_tokens(20))], {name: found[name] for name in overridden}
    )
    np.testing.assert_array_equal(again["logits"], found["logits"])


@pytest.mark.parametrize("fused", [True, False])
def test_unused_rows_are_not_computed(model, fused):  # noqa: F811
    plan = model.plan() if fused else model.plan(passes=())
    session = Session(model, plan, backend=NumpyBackend())
    parts = [(1, 0, random_tokens(5)), (0, 0, random_tokens(20)), (2, 0, random_tokens(3))]
    every = session.step(parts)["logits"]
    wanted = np.array([2, 26, 27], np.int32)
    np.testing.assert_array_equal(session.step(parts, outputs=wanted)["logits"], every[wanted])


def test_a_program_without_recurrences_does_not_change_states(tmp_path):
    with tiny_model(architecture("toy"), tiny_metadata("toy"), "Q8_0", tmp_path) as toy:
        numpy = NumpyBackend()
        session = Session(toy, toy.plan(passes=()), backend=numpy)
        session.step([(0, 0, random_tokens())])
        before = session.storage.save_slot(0)
        embed = toy.bind(toy.plan(None, ["token_embd"], passes=()), numpy, session.storage, CompileParams(1, 16))
        embed.run(session.batch([(0, 0, [1])]))
        assert all(np.array_equal(state, before[name]) for name, state in session.storage.save_slot(0).items())
        assert any(state.any() for state in before.values())


def test_ops_of_plugins(plugin, tmp_path):  # noqa: F811
    with tiny_model(plugin_ops.Smooth(), tiny_metadata("smooth"), "F32", tmp_path) as smooth:
        path = smooth.file.path
    params = {"n_ctx": 64, "n_batch": 16, "activations": "f32", "kv_type": "f32"}
    found = {}
    for backend in ("numpy", "cpu"):
        with LLM(path, backend=backend, n_threads=1, **params) as llm:
            found[backend] = llm.logits(random_tokens(40))
    assert relative_error(found["numpy"], found["cpu"]) < TOLERANCE


def test_an_op_without_a_definition_is_an_error(model, monkeypatch):  # noqa: F811
    plan = model.plan(passes=())
    monkeypatch.setattr(type(plan.ops[0]), "spec", property(lambda node: OpSpec(node.op, "", (), lambda *_: [])))
    with pytest.raises(GraphError, match="op 'embed' has no numpy definition"):
        Session(model, plan, backend=NumpyBackend())


def test_a_draft_model_runs_on_the_same_backend(models):  # noqa: F811
    params = EngineParams(**{**EXACT, "n_seqs": 6, "backend": "numpy"})
    engine = Engine(models(), params, models(block_count=1))
    engine.speculator.cost = FlatCost(64)
    engine.speculator._n_steps = lambda drafters: 3
    assert tokens(engine, *PROMPTS[1:3]) == tokens(Engine(models(), params), *PROMPTS[1:3])
    engine.close()


@pytest.mark.parametrize("name", ["mamba", "qwen35"])
def test_drafts_of_recurrent_models(models, name):  # noqa: F811
    """States go back after rejected drafts, one in four."""
    params = EngineParams(**{**EXACT, "n_seqs": 6, "backend": "numpy"})
    sizes = {key: value for key, value in SIZES.items() if key.startswith("ssm.")} | {"full_attention_interval": 2}
    prompts = PROMPTS[2:4]
    want = tokens(Engine(models(name, **sizes), params), *prompts)
    texts = [[*prompt, *ids] for prompt, ids in zip(prompts, want, strict=True)]
    engine = Engine(models(name, **sizes), replace(params, speculate="ngram"))
    engine.speculator = Oracle(
        lambda begun, n: next(text for text in texts if text[: len(begun)] == begun)[len(begun) :][:n], n_batch=64
    )
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    found = [request.completion() for request in requests]
    assert [completion.token_ids for completion in found] == want
    assert sum(completion.timings.n_drafted for completion in found) > 0
    engine.close()
