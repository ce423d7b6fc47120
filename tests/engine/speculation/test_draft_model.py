"""A draft model beside a model: the same texts, two caches in order, and models that do not go together."""

import numpy as np
import pytest

from realizar.arch import registry
from realizar.engine.engine import Engine
from realizar.errors import ParameterError
from realizar.params import EngineParams, SamplingParams
from realizar.testing import random_tokens, tiny_metadata, tiny_model
from tests.engine.fake import FakeTokenizer, check_cache
from tests.engine.speculation.oracle import FlatCost

PROMPTS = [random_tokens(n, seed) for seed, n in enumerate((100, 3, 33))]
PARAMS = [
    SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True),
    SamplingParams(seed=3, max_tokens=24, top_k=5, logprobs=2),
    SamplingParams(seed=4, max_tokens=24, ignore_eos=True, repetition_penalty=1.2, n=2),
]
SIZES = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 8}


class Letters(FakeTokenizer):
    """A tokenizer of as many tokens as a tiny model has."""

    tokens = tuple(f"t{i}" for i in range(256))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Makes models of their own files: a new one for each engine, which closes it."""
    opened = []

    def make(name="llama", type_name="Q8_0", tokens=Letters.tokens, **sizes):
        metadata = {**tiny_metadata(name), **{f"{name}.{key}": value for key, value in {**SIZES, **sizes}.items()}}
        folder = tmp_path_factory.mktemp("model")
        context = tiny_model(registry.default().architecture(name), metadata, type_name, folder)
        model = context.__enter__()
        opened.append(context)
        model.__dict__["tokenizer"] = Letters()
        model.tokenizer.tokens = tokens
        return model

    yield make
    for context in opened:
        context.__exit__(None, None, None)


def engine_of(model, draft=None, n_guesses=3, **params):
    defaults = {"n_threads": 2, "n_ctx": 160, "n_seqs": 6, "n_batch": 64}
    engine = Engine(model, EngineParams(**{**defaults, **params}), draft)
    if draft is not None:  # always so many, whatever the clock says
        engine.speculator.cost = FlatCost(64)
        engine.speculator._n_steps = lambda drafters: n_guesses
    return engine


def answers(engine, params=PARAMS):
    requests = [engine.generate(prompt, p) for prompt, p in zip(PROMPTS, params, strict=True)]
    engine.wait(lambda: all(request.is_over for request in requests))
    found = [request.completion() for request in requests]
    return [[(c.token_ids, c.logprobs) for c in (each, *each.others)] for each in found], found


@pytest.fixture(scope="module")
def alone(models):
    return answers(engine_of(models()))[0]


@pytest.mark.parametrize("draft", ["Q8_0", "Q4_K", "window"])
def test_texts_are_those_of_plain_decoding(models, alone, draft):
    small = models(**{"attention.sliding_window": 20}) if draft == "window" else models(type_name=draft)
    engine = engine_of(models(), small)
    texts, found = answers(engine)
    assert texts == alone
    assert sum(c.timings.n_drafted for c in found) > 0
    for cache in (engine.cache, engine.speculator.cache):
        check_cache(cache, [])
    assert engine.speculator._room == [pool.n_blocks for pool in engine.speculator.cache.pools]


@pytest.mark.parametrize(("name", "draft"), [("llama", "mamba"), ("mamba", "llama"), ("mamba", "mamba")])
def test_recurrent_models(models, name, draft):
    alone, _ = answers(engine_of(models(name)))
    engine = engine_of(models(name), models(draft))
    texts, found = answers(engine)
    assert texts == alone
    assert sum(c.timings.n_drafted for c in found) > 0
    for cache in (engine.cache, engine.speculator.cache):
        check_cache(cache, [])


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_a_model_guesses_what_it_says_itself(models, name):
    engine = engine_of(models(name), models(name), n_guesses=5)
    _, found = answers(engine, [PARAMS[0]] * 3)
    for completion in found:
        assert completion.timings.n_accepted == completion.timings.n_drafted >= 15


def test_a_text_without_room_is_decoded_plainly(models, alone):
    engine = engine_of(models(), models())
    engine.speculator._room = [0] * len(engine.speculator._room)
    texts, found = answers(engine)
    assert texts == alone
    assert sum(c.timings.n_drafted for c in found) == 0


def test_long_prompts_are_read_over_several_steps(models, alone):
    engine = engine_of(models(), models(type_name="Q4_K"), n_batch=16)
    assert answers(engine)[0] == alone


def test_a_step_interrupted_in_the_draft_model_can_be_made_again(models, alone):
    engine = engine_of(models(), models(type_name="Q4_K"))
    run, calls = engine.speculator.runner.run, []

    def interrupted(batch):
        calls.append(batch)
        if len(calls) % 5 == 3:
            raise KeyboardInterrupt
        return run(batch)

    engine.speculator.runner.run = interrupted
    requests = [engine.generate(prompt, p) for prompt, p in zip(PROMPTS, PARAMS, strict=True)]
    while not all(request.is_over for request in requests):
        try:
            engine.wait(lambda: all(request.is_over for request in requests))
        except KeyboardInterrupt:
            continue
    assert len(calls) > 10
    found = [request.completion() for request in requests]
    assert [[(c.token_ids, c.logprobs) for c in (each, *each.others)] for each in found] == alone
    check_cache(engine.speculator.cache, [])


def test_how_many_guesses_by_rates_and_costs(models):
    speculator = engine_of(models(), models()).speculator
    del speculator._n_steps
    speculator.cost._seconds, speculator._own_cost._seconds = (1.0 + 0.01 * np.arange(65)).tolist(), [0.1] * 65
    speculator.cost._measured = speculator._own_cost._measured = {1: [1.0]}
    drafter = speculator.drafter(None)
    for _ in range(100):
        drafter._all.learn(0, True)
    assert speculator._n_steps([drafter]) > 8
    for _ in range(100):
        drafter._all.learn(0, False)
    tried = [speculator._n_steps([drafter]) for _ in range(400)]
    assert set(tried) == {0, 2}
    assert 3 <= tried.count(2) <= 5


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"tokens": [*Letters.tokens[:200], "another", *Letters.tokens[201:]]}, "token 200 is .*another"),
        ({"tokens": Letters.tokens[:100]}, "256 tokens and the draft model 100"),
    ],
)
def test_models_that_do_not_go_together(models, how, why):
    with pytest.raises(ParameterError, match=why):
        engine_of(models(), models(**how))
