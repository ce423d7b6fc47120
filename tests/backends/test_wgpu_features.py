"""What LLM can do, on the wgpu backend: each feature gives the tokens of the CPU backend."""

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.backends.wgpu.backend import WgpuBackend
from realizar.testing import TOLERANCE, Session, random_tokens, relative_error
from tests.backends.adapters import need_adapter
from tests.engine.speculation import test_block_drafts as blocks
from tests.engine.speculation.oracle import FlatCost
from tests.engine.speculation.test_block_drafts import make, no_doubt  # noqa: F401 - fixtures
from tests.limits.models import LLAMA, QWEN2

EXACT = {"n_threads": 1, "n_ctx": 128, "activations": "f32", "kv_type": "f32"}
PROMPT = [1, *range(40, 75)]
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'


def params(**given):
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 10, "ignore_eos": True, **given})


WAYS = {
    "greedy": params(),
    "forks": params(temperature=0.9, seed=1, n=3),
    "best_of": params(temperature=0.9, seed=2, n=1, best_of=3),
    "beams": params(n_beams=3, n=2),
    "beam groups": params(n_beams=4, n_beam_groups=2, diversity_penalty=0.5, n=4),
    "guidance": params(cfg_scale=1.5, negative_prompt=(1, 50, 51)),
    "penalties": params(temperature=0.7, seed=3, repetition_penalty=1.3, frequency_penalty=0.2, dry_multiplier=0.8),
    "regex": params(regex="[a-f]{3,8}"),
    "schema": params(json_schema=SCHEMA, max_tokens=20),
    "choice": params(choice=("yes", "no", "perhaps")),
    "shift": params(context_shift=True, max_tokens=130),
}


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


@pytest.fixture(scope="module")
def both():
    """An LLM of each backend with the same model."""
    need_adapter()
    with LLM(LLAMA, backend="wgpu", **EXACT) as wgpu, LLM(LLAMA, **EXACT) as cpu:
        yield wgpu, cpu


def outputs(llm, *prompts, how):
    return [[(each.token_ids, each.finish_reason) for each in c.outputs] for c in llm.generate([*prompts], how)]


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_generating(both, way):
    """Two prompts in one batch, of which one is known from the cache when they are asked again."""
    prompts = (PROMPT, [*PROMPT[:20], 9, 8, 7])
    want = outputs(both[1], *prompts, how=WAYS[way])
    for _ in range(2):
        assert outputs(both[0], *prompts, how=WAYS[way]) == want


def test_scores_and_embeddings(both):
    (wgpu, cpu), continuations = both, [[5, 6, 7], [8]]
    for found, want in zip(wgpu.score(PROMPT, continuations), cpu.score(PROMPT, continuations), strict=True):
        assert found.logprob == pytest.approx(want.logprob, rel=1e-5)
    texts = ["a house with a garden", "the dog"]
    assert relative_error(wgpu.embed(texts), cpu.embed(texts)) < TOLERANCE


def test_saved_caches(both, tmp_path):
    """A prompt that was computed in one LLM is continued in another one, without its rows being computed again."""
    want = outputs(both[0], PROMPT, how=params())
    both[0].save_cache(tmp_path / "a.cache", PROMPT)
    with LLM(LLAMA, backend="wgpu", **EXACT) as other:
        other.load_cache(tmp_path / "a.cache")
        (found,) = other.generate([PROMPT], params())
        assert found.timings.n_cached == 32
        assert [[(each.token_ids, each.finish_reason) for each in found.outputs]] == want


FORCED = params(max_tokens=24, regex="(cat and dog, ){6}")


@pytest.mark.parametrize(
    ("how", "each"),
    [({"speculate": "ngram"}, FORCED), ({"draft": LLAMA}, params(max_tokens=24))],
    ids=["ngram", "draft"],
)
def test_speculation(both, how, each):
    """Earlier parts of a text that is forced say what follows; a second model, the same one, is always right."""
    prompt = "cat and dog, cat and dog, cat and dog, "
    (want,) = both[1].generate([prompt], each)
    with LLM(LLAMA, backend="wgpu", **EXACT, **how) as llm:
        llm.engine.speculator.cost = FlatCost(512)
        if "draft" in how:
            llm.engine.speculator._n_steps = lambda drafters: 3  # whatever the clock says
        (found,) = llm.generate([prompt], each)
        assert found.token_ids == want.token_ids
        assert found.timings.n_accepted > 0
        seeded = params(temperature=0.8, seed=4, max_tokens=24, n=2)
        assert outputs(llm, prompt, how=seeded) == outputs(both[1], prompt, how=seeded)


@pytest.mark.parametrize("make", ["qwen35", "eagle3 for llama"], indirect=True)
def test_draft_blocks(make):  # noqa: F811
    """Of a file with states and keys (multi-token prediction), and of EAGLE-3, which reads hidden states of layers."""
    exact = {"backend": "wgpu", "activations": "f32", "kv_type": "f32"}
    for name in ("greedy", "several"):
        want, _ = blocks.finish(make(**exact), blocks.PROMPTS[1:], blocks.PARAMS[name])
        engine = make(True, **exact)
        blocks.know(engine, blocks.texts_of(blocks.PROMPTS[1:], want), 3)
        found, completions = blocks.finish(engine, blocks.PROMPTS[1:], blocks.PARAMS[name])
        assert [[o[1] for o in each] for each in found] == [[o[1] for o in each] for each in want]
        assert sum(c.timings.n_accepted for c in completions) > 0


def test_intermediate_outputs_and_overrides():
    """Any value of the graph, and a run whose hidden states are those of another."""
    with LLM(QWEN2, **EXACT) as llm:
        model = llm.engine.model
        graph = model.graphs["decode"]
        names = [v.name for v in graph.values if v.name.startswith("blk.1.") and v.shape][:12]
        found = []
        for own in (WgpuBackend(), None):
            passes = {} if own is None else {"passes": own.passes}
            plan = model.plan(outputs=["logits", *names], **passes)
            made = Session(model, plan, backend=own, activations="f32", kv_type="f32")
            found.append(made.step([(0, 0, random_tokens(20))]))
        for name in names:
            assert relative_error(found[0][name], found[1][name]) < TOLERANCE, name
        own = WgpuBackend()
        plan = model.plan(outputs=["logits"], overrides=names[:1], passes=own.passes)
        made = Session(model, plan, backend=own, activations="f32", kv_type="f32")
        again = made.step([(0, 0, random_tokens(20))], {names[0]: found[0][names[0]]})["logits"]
        assert relative_error(again, found[0]["logits"]) < TOLERANCE
        other = made.step([(1, 0, random_tokens(20))], {names[0]: np.zeros_like(found[0][names[0]])})["logits"]
        assert relative_error(other, again) > 0.01
