"""Classifier-free guidance: what transformers writes, and the formula on every plan, beside whatever else runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from realizar import LLM
from realizar.errors import ContextFullError, ParameterError
from realizar.params import SamplingParams
from realizar.sampling import BeamParams, BeamSearch, Sampled
from tests.engine.fake import FULL, N_VOCAB, PLANS, check_cache, expected
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy

CASES = json.loads(Path(__file__).with_name("guidance.json").read_text("utf-8"))
MODEL = Path(__file__).parents[1] / "fixtures" / "parity" / "llama" / "model-q5_0.gguf"
OTHER = [1 + i * 7 % 29 for i in range(60)]


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def guided(n=12, negative=OTHER[:21], scale=1.5, **params):
    return greedy(n, ignore_eos=True, cfg_scale=scale, negative_prompt=negative, **params)


def logits(plan, tokens, n_prompt, negative, scale):
    """u + scale * (c - u) in float32."""
    towards, away = expected(plan, tokens), expected(plan, [*negative, *tokens[n_prompt:]])
    return away + np.float32(scale) * (towards - away)


def text(plan, prompt, negative, scale, n):
    tokens = list(prompt)
    for _ in range(n):
        tokens.append(int(logits(plan, tokens, len(prompt), negative, scale).argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["asked"]["guidance_scale"]))
def test_as_transformers(case):
    asked = case["asked"]
    params = SamplingParams(
        temperature=0.0, max_tokens=asked["max_new_tokens"], ignore_eos=True, cfg_scale=asked["guidance_scale"],
        negative_prompt=case["negative"],
    )  # fmt: skip
    with LLM(MODEL, n_ctx=64, kv_type="f32", activations="f32", n_threads=2) as llm:
        (found,) = llm.generate(case["prompt"], params)
    assert found.token_ids == case["tokens"]


@pytest.mark.parametrize("scale", [0.5, 1.5, 4.0])
def test_it_is_the_formula(plan, scale):
    engine = engine_of(plan, n_seqs=2)
    (found,) = finish(engine, engine.generate(PROMPT[:37], guided(30, scale=scale)))
    assert found.token_ids == text(plan, PROMPT[:37], OTHER[:21], scale, 30)
    check_cache(engine.cache, [])


def test_at_scale_0_the_negative_prompt_writes(plan):
    engine = engine_of(plan, n_seqs=2)
    alone = engine.generate(OTHER[:21], greedy(12, ignore_eos=True))
    found, want = finish(engine, engine.generate(PROMPT[:37], guided(scale=0.0)), alone)
    assert found.token_ids == want.token_ids


def test_without_one_the_last_token_is_the_negative_prompt():
    engine = engine_of(n_seqs=2)
    (found,) = finish(engine, engine.generate(PROMPT[:37], guided(negative=None)))
    assert found.token_ids == text(FULL, PROMPT[:37], PROMPT[36:37], 1.5, 12)


@pytest.mark.parametrize(("n_prompt", "n_negative"), [(1, 1), (1, 50), (50, 1), (40, 41)])
@pytest.mark.parametrize("n_batch", [2, 5, 64])
def test_nothing_beside_it_and_no_chunk_changes_it(plan, n_prompt, n_negative, n_batch):
    engine = engine_of(plan, n_seqs=4, n_batch=n_batch)
    params = guided(20, OTHER[:n_negative])
    want = text(plan, PROMPT[:n_prompt], OTHER[:n_negative], 1.5, 20)
    for _ in range(2):  # the second time the prompts are in the cache
        request = engine.generate(PROMPT[:n_prompt], params)
        others = [engine.generate(PROMPT[:n], greedy(9)) for n in (20, 38)]
        assert finish(engine, request, *others)[0].token_ids == want
    check_cache(engine.cache, [])


def test_a_step_that_fails_can_be_made_again():
    engine = engine_of(n_seqs=2, n_batch=16)
    request = engine.generate(PROMPT[:30], guided())
    for _ in range(5):
        engine.step()
        engine.model.program.fail = MemoryError()
        with pytest.raises(MemoryError):
            engine.step()
        engine.model.program.fail = None
    assert finish(engine, request)[0].token_ids == text(FULL, PROMPT[:30], OTHER[:21], 1.5, 12)


def test_several_texts_have_a_second_sequence_each(plan):
    engine = engine_of(plan, n_seqs=6)
    params = SamplingParams(n=3, seed=5, max_tokens=12, ignore_eos=True, cfg_scale=1.5, negative_prompt=OTHER[:21])
    (several,) = finish(engine, engine.generate(PROMPT[:37], params))
    for number, output in enumerate(several.outputs):
        rest = SamplingParams(seed=5, max_tokens=6, ignore_eos=True, cfg_scale=1.5,
                              negative_prompt=[*OTHER[:21], *output.token_ids[:6]])  # fmt: skip
        request = engine.generate([*PROMPT[:37], *output.token_ids[:6]], rest)
        request.answers[0]._number = number
        assert finish(engine, request)[0].token_ids == output.token_ids[6:]
    check_cache(engine.cache, [])


def test_beams_are_guided(plan):
    search = BeamSearch(BeamParams(3, 1, 0.0, 1.0, False, 12))
    while search.live:
        rows = []
        for beam in search.live:
            x = logits(plan, [*PROMPT[:20], *beam.tokens], 20, OTHER[:21], 1.5).astype(np.float64)
            x -= x.max() + np.log(np.exp(x - x.max()).sum())
            rows.append([(Sampled(int(i), None, []), float(x[i])) for i in np.lexsort((np.arange(N_VOCAB), -x))[:3]])
        search.advance(rows, lambda i, token: False)
    engine = engine_of(plan, n_seqs=6)
    params = SamplingParams(n_beams=3, n=3, max_tokens=12, ignore_eos=True, cfg_scale=1.5, negative_prompt=OTHER[:21])
    (found,) = finish(engine, engine.beam_search(PROMPT[:20], params))
    assert [output.token_ids for output in found.outputs] == [ended.beam.tokens for ended in search.best(3)]
    check_cache(engine.cache, [])


def test_functions_of_a_batch_change_what_is_mixed():
    rows = []

    def first(logits, histories):
        rows.append(logits[0].copy())
        logits[:] = 0
        logits[:, 4] = 1

    engine = engine_of(n_seqs=2)
    (found,) = finish(engine, engine.generate(PROMPT[:9], guided(2, samplers=[first, "temperature"])))
    assert found.token_ids == [4, 4]
    np.testing.assert_array_equal(rows[0], logits(FULL, PROMPT[:9], 9, OTHER[:21], 1.5))


def test_guided_and_unguided_texts_in_one_batch(plan):
    engine = engine_of(plan, n_seqs=6)
    run = engine.runner.run
    seen = []

    def kept(*args):
        found = run(*args)
        seen.append((found["logits"], found["logits"].values.copy()))
        return found

    engine.runner.run = kept
    prompts = [PROMPT[:12], PROMPT[:20]]
    alone = [engine.generate(prompt, greedy(9, ignore_eos=True)) for prompt in prompts]
    mixed = engine.generate(PROMPT[:12], guided(9))
    steps = 0
    while not mixed.is_over:
        engine.step()
        assert all(np.array_equal(rows.values, before) for rows, before in seen[steps:])
        steps = len(seen)
    found = finish(engine, mixed, *alone)
    assert found[0].token_ids == text(plan, PROMPT[:12], OTHER[:21], 1.5, 9)
    for prompt, one in zip(prompts, found[1:], strict=True):
        assert one.token_ids == text(plan, prompt, prompt, 1.0, 9)


def test_the_longer_prompt_ends_in_the_context():
    engine = engine_of(n_seqs=2)
    (found,) = finish(engine, engine.generate(PROMPT[:9], guided(50, [*OTHER, *OTHER[:30]])))
    assert (len(found.token_ids), found.finish_reason) == (7, "context")
    with pytest.raises(ContextFullError, match="97 tokens do not fit"):
        engine.generate([1], guided(1, [2] * 97))


def test_what_makes_no_sense():
    engine = engine_of(n_seqs=1)
    cases = [
        ({"negative_prompt": "x"}, "negative_prompt='x': must be None at cfg_scale=1"),
        ({"negative_prompt": [], "cfg_scale": 2.0}, r"negative_prompt=\[\]: must be valid Unicode text"),
        ({"negative_prompt": "", "cfg_scale": 2.0}, "the negative prompt has no tokens"),
        ({"negative_prompt": [N_VOCAB], "cfg_scale": 2.0}, "does not exist"),
        ({"cfg_scale": -1.0}, "cfg_scale=-1.0: must be a number in"),
        (
            {"cfg_scale": 2.0, "max_tokens": None},
            "2 sequences of up to 96 tokens need 12 cache blocks, and there are 6",
        ),
    ]
    for params, says in cases:
        with pytest.raises(ParameterError, match=says):
            engine.generate([1], SamplingParams(**params))
