"""Draft blocks, of a file (multi-token prediction) or in one of their own (EAGLE-3).

Completions are those without them, and the draft block sees the same in every course.
"""

import itertools
from functools import cache

import numpy as np
import pytest

from realizar.arch import registry
from realizar.engine.engine import Engine
from realizar.engine.saving import read_cache, write_cache
from realizar.engine.speculation import block_drafts
from realizar.errors import CacheFileError
from realizar.gguf import GGUFFile
from realizar.model import Model, load
from realizar.params import EngineParams, SamplingParams
from realizar.testing import N_VOCAB, random_tokens, tiny_metadata, tiny_model
from tests.arch.test_draft_blocks import SIZES, sizes_of
from tests.eagle import write_draft
from tests.engine.fake import Letters, check_cache
from tests.engine.speculation.oracle import FlatCost

PROMPTS = [random_tokens(n, seed) for seed, n in enumerate((100, 2, 33))]
PARAMS = {
    "greedy": SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True, logprobs=3),
    "seed": SamplingParams(seed=3, top_k=5, max_tokens=24, ignore_eos=True, logprobs=1),
    "several": SamplingParams(seed=4, max_tokens=20, n=3, repetition_penalty=1.2, ignore_eos=True),
    "best_of": SamplingParams(seed=5, max_tokens=16, n=1, best_of=3, ignore_eos=True),
    "grammar": SamplingParams(temperature=0.0, max_tokens=24, regex="[a-f]{12}"),
    "stop": SamplingParams(seed=6, top_k=20, max_tokens=60, ignore_eos=True, stop=("a", "cd")),
    "context": SamplingParams(seed=7, max_tokens=None, ignore_eos=True),
    "shift": SamplingParams(temperature=0.0, max_tokens=90, context_shift=True, ignore_eos=True),
}


QUICK = ["qwen35", "glm4moe", "eagle3 for llama", "eagle3 for qwen35"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SIZES if name not in QUICK]


@pytest.fixture(scope="module", params=[*QUICK, *SLOW])
def make(request, tmp_path_factory):
    """Makes engines of one tiny model: with its draft block, or with a draft of EAGLE-3, or without."""
    name, opened = request.param.rpartition(" ")[2], []
    arch = registry.default().architecture(name)
    folder = tmp_path_factory.mktemp("drafts")
    sizes = sizes_of(name) if name in SIZES else {}
    with tiny_model(arch, {**tiny_metadata(name), **sizes}, "Q8_0", folder, optional=False) as model:
        path = model.file.path
    draft = None
    if request.param.startswith("eagle3"):
        tokens = np.random.default_rng(0).permutation(Letters.n_vocab)
        draft = write_draft(folder / "draft.gguf", tokens, optional=False)

    def make(drafts=False, n_guesses=3, **params):
        model = Model(GGUFFile(path), arch, has_draft=drafts and draft is None)
        opened.append(model)
        model.__dict__["tokenizer"] = Letters()
        defaults = {"n_threads": 2, "n_ctx": 160, "n_seqs": 10, "n_batch": 64}
        if drafts and draft is not None:
            model.attach(load(draft, target=model))
        speculate = "mtp" if drafts and draft is None else None
        engine = Engine(model, EngineParams(**{**defaults, **params}, speculate=speculate))
        if drafts:  # always so many, whatever the clock says
            engine.speculator.cost = FlatCost(256)
            engine.speculator._n_steps = lambda drafters: n_guesses
        return engine

    yield make
    for model in opened:
        model.close()


@pytest.fixture(scope="module")
def plain(make):
    """What the model answers to PROMPTS without drafts, by the name of the params."""
    return cache(lambda name: finish(make(), PROMPTS, PARAMS[name])[0])


@pytest.fixture(autouse=True)
def no_doubt(monkeypatch):
    """Random weights are never sure of a token; make as many guesses as are asked for."""
    monkeypatch.setattr(block_drafts, "LEAST_CHANCE", 0.0)


def finish(engine, prompts, params):
    requests = [engine.generate(prompt, params) for prompt in prompts]
    engine.wait(lambda: all(request.is_over for request in requests))
    found = [request.completion() for request in requests]
    return [[(c.text, c.token_ids, c.logprobs, c.finish_reason) for c in each.outputs] for each in found], found


def know(engine, texts, every):
    """Let the draft block say what follows in one of the texts, but for one token in `every`; texts begin alike."""
    draft, numbers = engine.runner.draft, itertools.count(1)

    tokens = engine.model.draft_tokens
    row_of = np.arange(N_VOCAB) if tokens is None else np.argsort(tokens)

    def knowing(rows):
        logits, hidden = draft(rows)
        logits = logits.copy()
        for row, own in zip(rows, logits, strict=True):
            said = [*row.seq.tokens.tolist(), *known.get(row.seq, [])]
            if row.n_past == row.seq.n_tokens - 1:
                said = row.seq.tokens.tolist()
                known[row.seq] = []
            text = next((text for text in texts if text[: len(said)] == said and len(text) > len(said)), None)
            token = 7 if text is None else text[len(said)]
            known[row.seq].append(token)
            own[:] = 0
            own[row_of[token if next(numbers) % every else (token + 1) % N_VOCAB]] = 99.0
        return logits, hidden

    known = {}
    engine.runner.draft = knowing


def texts_of(prompts, found):
    return [[*prompt, *ids] for prompt, each in zip(prompts, found, strict=True) for _, ids, *_ in each]


@pytest.mark.parametrize("n_guesses", [1, 4, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
@pytest.mark.parametrize("every", [2, 5, 10**9])
def test_any_number_of_drafts(make, plain, n_guesses, every):
    want = plain("greedy")
    engine = make(True, n_guesses)
    know(engine, texts_of(PROMPTS, want), every)
    found, completions = finish(engine, PROMPTS, PARAMS["greedy"])
    assert found == want
    timings = [c.timings for c in completions]
    assert sum(t.n_drafted for t in timings) >= sum(t.n_accepted for t in timings) > 0
    if every == 10**9:
        assert all(t.n_accepted == t.n_drafted > 0 for t in timings)
    check_cache(engine.cache, [])


@pytest.mark.parametrize("name", PARAMS)
def test_any_params(make, plain, name):
    want = plain(name)
    engine = make(True)
    know(engine, texts_of(PROMPTS, want), every=4)
    found, completions = finish(engine, PROMPTS, PARAMS[name])
    assert found == want
    assert sum(c.timings.n_drafted for each in completions for c in each.outputs) > 0
    check_cache(engine.cache, [])


def test_without_an_oracle(make, plain):
    """The draft block's own guesses, mostly wrong."""
    want = plain("seed")
    engine = make(True, n_guesses=2)
    assert finish(engine, PROMPTS, PARAMS["seed"])[0] == want


ENGINES = [{"n_batch": 7}, {"n_batch": 24, "n_seqs": 2}, {"n_threads": 1}, {"kv_type": "int8"}]


@pytest.mark.parametrize("params", ENGINES)
def test_any_engine(make, params):
    want, _ = finish(make(**params), PROMPTS, PARAMS["greedy"])
    engine = make(True, **params)
    know(engine, texts_of(PROMPTS, want), every=3)
    assert finish(engine, PROMPTS, PARAMS["greedy"])[0] == want
    assert finish(engine, PROMPTS, PARAMS["greedy"])[0] == want  # after cached prompts
    check_cache(engine.cache, [])


def test_preempted_requests_go_on(make):
    prompts = [random_tokens(60, seed) for seed in range(5)]
    want, _ = finish(make(), prompts, PARAMS["greedy"])
    engine = make(True, n_ctx=100, n_seqs=2)
    know(engine, texts_of(prompts, want), every=3)
    requests = [engine.generate(prompt, PARAMS["greedy"], priority=i) for i, prompt in enumerate(prompts)]
    while not requests[0].answers[0].token_ids:
        engine.step()
    late = engine.generate(prompts[0], PARAMS["greedy"], priority=9)
    engine.wait(lambda: all(request.is_over for request in (*requests, late)))
    assert engine.scheduler.n_preempted > 0
    assert [request.completion().token_ids for request in requests] == [each[0][1] for each in want]
    check_cache(engine.cache, [])


def test_a_cancelled_request_leaves_nothing(make):
    engine = make(True)
    requests = [engine.generate(prompt, PARAMS["greedy"]) for prompt in PROMPTS]
    while len(requests[1].answers[0].token_ids) < 5:
        engine.step()
    engine.cancel(requests[:2])
    engine.wait(lambda: requests[2].is_over)
    engine.step()
    check_cache(engine.cache, [])


def test_other_requests_of_the_same_engine(make):
    """Hidden states and logits of prompts have the same bits; their blocks serve completions later."""
    values = []
    for engine in (make(), make(True)):
        asked = [engine.logits(PROMPTS[0]), engine.embed(PROMPTS[2])]
        engine.wait(lambda asked=asked: all(request.is_over for request in asked))
        values.append([asked[0].logits, asked[1].hidden])
    for plain, found in zip(*values, strict=True):
        np.testing.assert_array_equal(found, plain)
    _, (completion, *_) = finish(engine, [[*PROMPTS[0], 5]], PARAMS["greedy"])
    assert (completion.timings.n_cached == 0) == bool(engine.cache.states)  # a score leaves no snapshot


def test_a_saved_cache_is_continued(make):
    """It has the rows of the draft block, too."""
    prompt = [*PROMPTS[0], 5]
    want, _ = finish(make(), [prompt], PARAMS["greedy"])
    first, second = make("mtp"), make("mtp")
    request = first.save(PROMPTS[0])
    first.complete([request])
    second.complete([second.restore(request.saved)])
    found, (completion,) = finish(second, [prompt], PARAMS["greedy"])
    assert found == want
    assert completion.timings.n_cached == 96
    assert request.saved.arrays.keys() > make().cache.save_blocks(0, []).keys()
    check_cache(second.cache, [])


def first_guesses(engine, every, prompts, texts):
    """Logits of the draft block after each token, in the course of completions."""
    found, draft = {}, engine.runner.draft

    def noting(rows):
        logits, hidden = draft(rows)
        for row, own in zip(rows, logits, strict=True):
            if row.n_past == row.seq.n_tokens - 1:
                found[tuple(row.seq.tokens.tolist())] = own.copy()
        return logits, hidden

    engine.runner.draft = noting
    know(engine, texts, every)
    finish(engine, prompts, PARAMS["greedy"])
    return found


def test_the_draft_block_sees_the_same_in_every_course(make, plain):
    """Chunks of the prompt, rejected drafts, rows computed again and other sequences do not change its bits."""
    texts = texts_of(PROMPTS, plain("greedy"))
    want = first_guesses(make(True, n_guesses=1), 10**9, PROMPTS, texts)
    want.update(first_guesses(make(True, n_guesses=1), 2, PROMPTS, texts))
    n_same = 0
    for n_guesses, every, params in ((4, 3, {}), (3, 2, {"n_batch": 9}), (2, 4, {"n_threads": 1})):
        found = first_guesses(make(True, n_guesses, **params), every, PROMPTS, texts)
        same = found.keys() & want.keys()
        n_same += len(same)
        for tokens in same:
            np.testing.assert_array_equal(found[tokens], want[tokens])
    assert n_same > 40


def test_how_many_guesses_by_rates_and_costs(make):
    speculator = make(True).speculator
    del speculator._n_steps
    speculator.cost._seconds, speculator._own_cost._seconds = (1.0 + 0.05 * np.arange(257)).tolist(), [0.2] * 257
    speculator.cost._measured = speculator._own_cost._measured = {1: [1.0]}
    drafter = speculator.drafter(None)
    for _ in range(100):
        drafter._all.learn(0, True)
    assert speculator._n_steps([drafter]) > 3
    for _ in range(100):
        drafter._all.learn(0, False)
    assert {speculator._n_steps([drafter]) for _ in range(400)} == {0, 2}


def test_a_saved_cache_has_that_of_the_draft_block(make, plain, tmp_path):
    first, path = make(drafts=True), tmp_path / "a.cache"
    request = first.save(PROMPTS[0])
    first.complete([request])
    write_cache(path, first, request)
    second = make(drafts=True)
    second.complete([second.restore(read_cache(path, second))])
    found, completions = finish(second, PROMPTS, PARAMS["greedy"])
    assert found == plain("greedy")
    assert completions[0].timings.n_cached == 96
    with pytest.raises(CacheFileError, match="was saved with draft="):
        read_cache(path, make())
