"""Preempted requests: the same answers, whether their blocks are copied or computed again; nothing is left behind."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.params import SamplingParams
from tests.engine.fake import FULL, PLANS, check_cache, continuation, expected
from tests.engine.speculation.oracle import Oracle
from tests.engine.test_encoders import engine as engine_of_model
from tests.engine.test_encoders import t5  # noqa: F401 - a fixture
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy
from tests.engine.test_same_bits import PROMPTS, make  # noqa: F401 - a fixture
from tests.engine.test_several import KINDS, draws, texts

METHODS = {"copied": True, "computed again": False}
MORE_KINDS = {
    **KINDS,
    "penalties": {"repetition_penalty": 1.5, "presence_penalty": 0.5, "penalty_last_n": -1},
    "prompt logprobs": {"prompt_logprobs": 2, "logprobs": 1},
    "echo": {"echo": True},
    "stop": {"stop": ("ab", "q")},
}


@pytest.fixture(params=METHODS)
def prefers_copy(request):
    return METHODS[request.param]


def force(engine, prefers_copy):
    """Have preempted requests treated in one way, whatever is predicted to be faster."""
    engine.scheduler.cost.prefers_copy = lambda n_tokens, n_bytes: prefers_copy
    return engine


def preempt_in_turn(engine, n_steps):
    """Make steps, and preempt a running request, each time another one, at every third."""
    for step in range(n_steps):
        engine.step()
        if engine.scheduler.running and step % 3 == 0:
            engine.scheduler._preempt(engine.scheduler.running[step % len(engine.scheduler.running)])


def hand_in(engine, prompt, params):
    return (engine.beam_search if params.n_beams > 1 else engine.generate)(prompt, params)


@cache
def until_the_context_is_full(name):
    """Prompts, and what greedy decoding gives each alone."""
    prompts = [[1 + i % 29, 1 + i % 7, *PROMPT[: i % 23]] for i in range(32)]
    return prompts, [completed(PLANS[name], prompt) for prompt in prompts]


def completed(plan, prompt):
    tokens = list(prompt)
    while len(tokens) <= 96:
        tokens.append(int(expected(plan, tokens).argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("name", PLANS)
def test_more_requests_without_a_limit_than_there_is_room_for(name, prefers_copy):
    """At commit 0bc8e36 each reserved a whole context, so that four ran at once."""
    engine = force(engine_of(PLANS[name], n_seqs=4, n_batch=40), prefers_copy)
    prompts, wants = until_the_context_is_full(name)
    params = SamplingParams(temperature=0.0, max_tokens=None, ignore_eos=True)
    requests = [engine.generate(prompt, params) for prompt in prompts]
    engine.step()
    if not PLANS[name].states:  # each state needs a slot
        assert len(engine.scheduler.running) > 4
    for want, completion in zip(wants, finish(engine, *requests), strict=True):
        assert completion.token_ids == want
        assert completion.finish_reason == "context"
    if not PLANS[name].states:
        assert engine.scheduler.n_preempted > 0
    assert engine.scheduler.cost.n_bytes_kept == 0
    check_cache(engine.cache, [])


def test_bits_of_a_real_model(make, prefers_copy):  # noqa: F811
    params = SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True, logprobs=8)
    large = make(n_seqs=8)
    alone = [finish(large, large.generate(prompt, params))[0] for prompt in PROMPTS]
    engine = force(make(n_seqs=5, n_ctx=150), prefers_copy)
    requests = [engine.generate(prompt, params) for prompt in PROMPTS]
    preempt_in_turn(engine, 30)
    for found, want in zip(finish(engine, *requests), alone, strict=True):
        assert (found.token_ids, found.logprobs) == (want.token_ids, want.logprobs)
    assert engine.scheduler.n_preempted >= 10
    check_cache(engine.cache, [])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(PLANS)),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(sorted(MORE_KINDS)), st.integers(1, 60), st.integers(1, 20), st.integers(0, 60)),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.integers(0, 7), max_size=40),
)
def test_requests_of_all_kinds_that_are_preempted(name, prefers_copy, asked, preempted):
    small, large = engine_of(PLANS[name], n_seqs=4, n_batch=8), engine_of(PLANS[name], n_seqs=8, n_batch=64)
    force(small, prefers_copy)
    requests = []
    for kind, n_prompt, n_tokens, until in asked:
        params, prompt = draws(n_tokens, **MORE_KINDS[kind]), PROMPT[n_prompt % 7 :][:n_prompt]
        requests.append((hand_in(small, prompt, params), prompt, params, until))
    for step in range(2000):
        if all(request.is_over for request, *_ in requests):
            break
        small.step()
        running = small.scheduler.running
        if step < len(preempted) and preempted[step] < len(running):
            small.scheduler._preempt(running[preempted[step]])
        for request, *_, until in requests:
            if step == until and until % 3 == 0:
                request.cancel()
    for request, prompt, params, _ in requests:
        assert request.is_over
        assert request.error is None
        if not request.cancelled:
            (alone,) = finish(large, hand_in(large, prompt, params))
            found = request.completion()
            assert texts(found) == texts(alone)
            assert found.text == alone.text
            assert found.prompt_logprobs == alone.prompt_logprobs
    small.step()
    check_cache(small.cache, [])
    assert small.scheduler.cost.n_bytes_kept == 0


def test_logits_and_scores(prefers_copy):
    engine = force(engine_of(n_batch=8), prefers_copy)
    rows, scored = engine.logits(PROMPT[:60]), engine.score(PROMPT[:9], PROMPT[9:60], 1)
    (want,) = (engine_of().score(PROMPT[:9], PROMPT[9:60], 1),)
    for _ in range(6):
        engine.step()
        for request in list(engine.scheduler.running):
            engine.scheduler._preempt(request)
    engine.wait(lambda: rows.is_over and scored.is_over)
    np.testing.assert_array_equal(rows.logits, [expected(FULL, PROMPT[: i + 1]) for i in range(60)])
    other = engine_of()
    want = other.score(PROMPT[:9], PROMPT[9:60], 1)
    other.wait(lambda: want.is_over)
    assert scored.score() == want.score()
    check_cache(engine.cache, [])


def test_texts_with_drafts(prefers_copy):
    engine = force(engine_of(n_seqs=2), prefers_copy)
    engine.speculator = Oracle(lambda tokens, n: continuation(FULL, list(tokens), n, 96))
    requests = [engine.generate(PROMPT[:n], greedy(30, ignore_eos=True)) for n in (20, 33)]
    for step in range(8):
        engine.step()
        if step % 2 and engine.scheduler.running:
            engine.scheduler._preempt(engine.scheduler.running[-1])
    plain = engine_of()
    for n, found in zip((20, 33), finish(engine, *requests), strict=True):
        assert found.token_ids == finish(plain, plain.generate(PROMPT[:n], greedy(30, ignore_eos=True)))[0].token_ids
    check_cache(engine.cache, [])


@pytest.mark.parametrize("kind", ["drawn", "four", "beams"])
def test_answers_behind_an_encoder(t5, prefers_copy, kind):  # noqa: F811
    params = draws(12, **KINDS[kind])
    engine = force(engine_of_model(t5, n_seqs=5), prefers_copy)
    (want,) = finish(engine, hand_in(engine, PROMPT[:30], params))
    request = hand_in(engine, PROMPT[:30], params)
    for _ in range(30):
        engine.step()
        for running in list(engine.scheduler.running):
            if not running.is_over:
                engine.scheduler._preempt(running)
        if request.is_over:
            break
    (found,) = finish(engine, request)
    assert texts(found) == texts(want)
    check_cache(engine.cache, [])
