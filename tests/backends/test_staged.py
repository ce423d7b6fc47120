"""The staged backend: a model on several backends gives what one gives, whichever ops the members compute."""

import numpy as np
import pytest

from realizar.backends.cpu.backend import CPUBackend
from realizar.backends.numpy.backend import NumpyBackend
from realizar.backends.staged.backend import StagedBackend
from realizar.backends.staged.placement import Placement
from realizar.backends.staged.stages import cut
from realizar.backends.wgpu.backend import WgpuBackend
from realizar.engine.engine import Engine
from realizar.gguf import GGUFFile
from realizar.model import Model
from realizar.params import EngineParams, SamplingParams
from realizar.runtime.adapter_files import open_control_vector, open_lora
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error, tiny_metadata, tiny_model
from tests.adapters import write_random_lora, write_random_vector
from tests.arch import test_sparse
from tests.arch.test_draft_blocks import sizes_of
from tests.backends.adapters import need_adapter
from tests.engine import test_encoders as encoders
from tests.engine.fake import FakeTokenizer, Letters, check_cache
from tests.engine.speculation.oracle import FlatCost
from tests.engine.test_preemption import force
from tests.engine.test_same_bits import PROMPTS, SIZES, architecture, score
from tests.runtime import test_shared_kv

GREEDY = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True)
EXACT = {"n_threads": 1, "n_ctx": 160, "n_batch": 64, "activations": "f32", "kv_type": "f32"}
EXPERTS = r"ffn_.*_exps"
SPLIT = Placement((0, 1), 0, 1)
"""The first layer and the embedding on one member, the second and the head on another."""
PLACEMENTS = {
    "layers": SPLIT,
    "reversed": Placement((1, 0), 1, 0),
    "experts": Placement((1, 1), 1, 1, ((EXPERTS, 0),)),
    "products": Placement((1, 1), 0, 0, (("ffn_down", 0), ("attn_output", 0))),
}


def tiny(name, folder, type_name="Q8_0", **sizes):
    sizes = {**SIZES, "expert_count": 4 if name in ("qwen35", "deepseek2") else 0, **sizes}
    metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in sizes.items()}}
    return tiny_model(architecture(name), metadata, type_name, folder)


@pytest.fixture(scope="module")
def model(request, tmp_path_factory):
    with of_family(request.param, tmp_path_factory.mktemp("tiny")) as made:
        made.__dict__["tokenizer"] = FakeTokenizer()
        yield made


def cpu(_=None):
    return CPUBackend(1)


def staged(placement, *members):
    return StagedBackend([make() for make in members], placement)


def engine(model, backend, **params):
    return Engine(model, EngineParams(**{**EXACT, **params}), backend=backend)


def tokens(engine, *prompts):
    requests = [engine.generate(prompt, GREEDY) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion().token_ids for request in requests]


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)
@pytest.mark.parametrize("model", ["llama", "qwen35", "deepseek2"], indirect=True)
def test_two_cpu_members_give_the_bits_of_one(model, placement):
    """Values cross unchanged, in chunks and for the rows of outputs alone, with their blocks and states."""
    want, found = (engine(model, make()) for make in (cpu, lambda: staged(placement, cpu, cpu)))
    np.testing.assert_array_equal(score(found, PROMPTS[2]), score(want, PROMPTS[2]))
    assert tokens(found, *PROMPTS[1:4]) == tokens(want, *PROMPTS[1:4])
    check_cache(found.cache, [])


def close(found, want):
    assert relative_error(found, want) < TOLERANCE


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)
@pytest.mark.parametrize("model", ["llama", "qwen35", "deepseek2"], indirect=True)
def test_cpu_and_gpu(model, placement):
    need_adapter()
    want, found = engine(model, cpu()), engine(model, staged(placement, cpu, WgpuBackend))
    close(score(found, PROMPTS[2]), score(want, PROMPTS[2]))
    assert tokens(found, *PROMPTS[1:4]) == tokens(want, *PROMPTS[1:4])


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)
@pytest.mark.parametrize("model", ["qwen35"], indirect=True)
def test_kernels_and_definitions(model, placement):
    want, found = engine(model, NumpyBackend()), engine(model, staged(placement, cpu, NumpyBackend))
    close(score(found, PROMPTS[2]), score(want, PROMPTS[2]))


@pytest.mark.parametrize("model", ["llama", "qwen35"], indirect=True)
def test_two_programs_on_one_gpu(model):
    need_adapter()
    want, found = engine(model, WgpuBackend()), engine(model, staged(SPLIT, WgpuBackend, WgpuBackend))
    np.testing.assert_array_equal(score(found, PROMPTS[2]), score(want, PROMPTS[2]))


@pytest.mark.parametrize("model", ["qwen35"], indirect=True)
def test_preempted_requests_and_snapshots(model):
    """Blocks and states of all members are copied to the host and back, and between slots."""
    need_adapter()
    prompts = PROMPTS[2:4]
    alone = tokens(engine(model, cpu()), *prompts)
    forced = force(engine(model, staged(SPLIT, cpu, WgpuBackend), n_seqs=5), True)
    requests = [forced.generate(prompt, GREEDY) for prompt in prompts]
    for step in range(4):
        forced.step()
        if forced.scheduler.running and step % 3 == 0:
            forced.scheduler._preempt(forced.scheduler.running[step % len(forced.scheduler.running)])
    forced.wait(lambda: all(request.is_over for request in requests))
    assert [request.completion().token_ids for request in requests] == alone
    assert forced.scheduler.n_preempted > 0


@pytest.mark.parametrize("model", ["llama", "qwen35"], indirect=True)
def test_a_cached_prefix_is_reused(model):
    need_adapter()
    found, prompt = engine(model, staged(SPLIT, cpu, WgpuBackend)), [*PROMPTS[3], *PROMPTS[2]]
    tokens(found, PROMPTS[3])
    request = found.generate(prompt, GREEDY)
    found.wait(lambda: request.is_over)
    assert request.completion().timings.n_cached > 0
    assert [request.completion().token_ids] == tokens(engine(model, cpu()), prompt)


@pytest.mark.parametrize("model", ["llama", "qwen35"], indirect=True)
def test_several_texts_of_one_prompt(model):
    """Sequences that fork, whose blocks and states are copied within each member."""
    params = SamplingParams(n=3, seed=1, max_tokens=6, ignore_eos=True)
    found = []
    for backend in (cpu(), staged(SPLIT, cpu, cpu)):
        own = engine(model, backend)
        request = own.generate(PROMPTS[2], params)
        own.wait(lambda request=request: request.is_over)
        found.append([one.token_ids for one in request.completion().outputs])
    assert found[0] == found[1]
    assert len(found[0]) == 3


def session(model, backend, plan, **options):
    return Session(model, plan, backend=backend, **{"activations": "f32", "kv_type": "f32", **options})


def of_family(name, folder):
    if name == "shared":
        return tiny_model(test_shared_kv.Shared(), {**tiny_metadata(name), **test_shared_kv.METADATA}, "Q8_0", folder)
    if name == "deepseek32":
        return test_sparse.tiny(name, folder)
    return encoders.tiny(name, folder) if name in encoders.KEYS else tiny(name, folder)


@pytest.mark.parametrize("name", ["shared", "t5", "bert", "deepseek32", "rwkv7"])
@pytest.mark.parametrize("placement", ["layers", "reversed", "products"])
def test_families_with_their_own_data_flow(name, placement, tmp_path):
    """Caches that several layers or programs share, encoders, states of several kinds, keys chosen by an indexer."""
    with of_family(name, tmp_path) as model:
        for program in model.graphs:
            plan, ids = model.plan(program), random_tokens(20)
            want, found = (
                session(model, backend, plan, n_ctx=96).prompt(ids, 20)
                for backend in (cpu(), staged(PLACEMENTS[placement], cpu, cpu))
            )
            for output in want:
                np.testing.assert_array_equal(found[output], want[output])


def test_taps_and_overrides_cross_stages(tmp_path):
    """Values that a caller asks for or passes in, of any stage."""
    with tiny("llama", tmp_path) as model:
        graph, rng = model.graphs["decode"], np.random.default_rng(0)
        names = [value.name for value in graph.values if value.name.endswith(("attn_output", "ffn_down"))]
        plan = model.plan(outputs=["logits", *names])
        want, found = (
            session(model, make, plan).step([(0, 0, random_tokens(9))]) for make in (cpu(), staged(SPLIT, cpu, cpu))
        )
        assert len(found) == 1 + len(names)
        for name in want:
            np.testing.assert_array_equal(found[name], want[name])
        given = next(
            value for value in graph.values if value.name == plan.names[plan.ops[len(plan.ops) // 2].inputs[0]]
        )
        rows = {given.name: rng.standard_normal((9, *given.shape), np.float32)}
        over = model.plan(overrides=rows)
        want, found = (
            session(model, make, over).step([(0, 0, random_tokens(9))], rows)
            for make in (cpu(), staged(SPLIT, cpu, cpu))
        )
        np.testing.assert_array_equal(found["logits"], want["logits"])


def test_hidden_rows_cross_once(tmp_path):
    with tiny("llama", tmp_path) as model:
        stages = cut(model.plan(), SPLIT)
    assert [stage.member for stage in stages] == [0, 1]
    assert [len(stage.writes) for stage in stages] == [1, 0]
    assert list(stages[0].writes) == list(stages[1].reads)


@pytest.mark.parametrize("member", [cpu, WgpuBackend], ids=["cpu", "wgpu"])
def test_stages_of_a_member_share_the_memory_of_values(member, tmp_path):
    """As many bytes as for one stage of the largest size, and no more results are wrong for it."""
    need_adapter()
    experts = PLACEMENTS["experts"]
    with tiny("deepseek2", tmp_path, block_count=6, leading_dense_block_count=0) as model:
        few, many = (Placement((1,) * 6, 1, 1, pattern) for pattern in (((r"blk\.4\." + EXPERTS, 0),), experts.tensors))
        made = {}
        for placement in (few, many):
            own = session(model, staged(placement, member, cpu), model.plan())
            made[placement] = (
                own.prompt(random_tokens(40), 40)["logits"],
                own.compiled.n_bytes,
                len(own.compiled.stages),
            )
    close(made[many][0], made[few][0])
    assert (made[few][2], made[many][2]) == (3, 13)
    assert made[many][1] <= 1.2 * made[few][1]


@pytest.mark.parametrize("model", ["t5"], indirect=True)
def test_a_decoder_reads_what_an_encoder_cached(model):
    """Cross-attention: one program writes the caches, another one reads them, each layer's on its member."""
    texts = encoders.TEXTS[:3]
    for placement in (SPLIT, PLACEMENTS["reversed"], PLACEMENTS["products"]):
        found, want = (
            encoders.answers(Engine(model, EngineParams(n_threads=1, n_batch=64, n_ctx=80), backend=make), *texts)
            for make in (staged(placement, cpu, cpu), cpu())
        )
        assert found == want


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS)
def test_adapters_and_control_vectors(placement, tmp_path):
    """Their ops change values in place, of which some were computed by the other member."""
    with tiny("llama", tmp_path) as model:
        model.__dict__["tokenizer"] = FakeTokenizer()
        lora = write_random_lora(tmp_path / "lora.gguf", model)
        vector = write_random_vector(tmp_path / "vector.gguf", model, (1,))
        found = []
        for backend in (cpu(), staged(placement, cpu, cpu)):
            own = engine(model, backend)
            own.adapters.add("a", open_lora(lora, "llama"))
            own.adapters.add("v", open_control_vector(vector, "llama"))
            params = SamplingParams(lora="a", control_vector="v")
            request = own.logits(PROMPTS[2], None, 0, params)
            own.complete([request])
            found.append(request.logits)
        plain = score(engine(model, cpu()), PROMPTS[2])
    np.testing.assert_array_equal(found[0], found[1])
    assert relative_error(found[0], plain) > 0.1


def test_a_draft_block_of_the_file(tmp_path):
    """It is computed by the member that has the head; drafts are verified in all layers."""
    metadata, found = {**tiny_metadata("glm4moe"), **sizes_of("glm4moe")}, []
    with tiny_model(architecture("glm4moe"), metadata, "Q8_0", tmp_path, optional=False) as made:
        path = made.file.path
    for backend in (cpu(), staged(SPLIT, cpu, cpu)):
        model = Model(GGUFFile(path), architecture("glm4moe"), has_draft=True)
        model.__dict__["tokenizer"] = Letters()
        own = Engine(model, EngineParams(n_threads=1, n_ctx=160, n_batch=64, speculate="mtp"), backend=backend)
        own.speculator.cost = FlatCost(256)
        own.speculator._n_steps = lambda drafters: 3
        found.append(tokens(own, *PROMPTS[1:3]))
        assert "draft" in {key[0] for key in own.runner._programs}
        own.close()
    assert found[0] == found[1]


def test_the_layout_of_saved_caches_names_runs_of_layers():
    backend = StagedBackend([CPUBackend(1), NumpyBackend()], Placement((0, 0, 1, 0), 0, 0))
    assert backend.layout == "2 CPUBackend, 1 NumpyBackend, 1 CPUBackend"
    backend.close()
