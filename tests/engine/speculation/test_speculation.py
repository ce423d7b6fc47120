"""Drafts through an engine: texts are what they are without, whatever is guessed."""

from functools import cache

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from realizar.engine.cache.chunk import NO_DRAFTS
from realizar.params import SamplingParams
from tests.engine.fake import FULL, PLANS, check_cache, continuation
from tests.engine.speculation.oracle import FlatCost, Oracle
from tests.engine.test_engine import PROMPT, EngineMachine, engine_of, finish, greedy

PARAMS = {
    "greedy": greedy(30),
    "seed": SamplingParams(seed=3, max_tokens=30),
    "penalties": SamplingParams(temperature=0.5, seed=4, max_tokens=30, repetition_penalty=1.3, frequency_penalty=0.5),
    "learner": SamplingParams(mirostat=2, mirostat_tau=2.0, seed=5, max_tokens=30),
    "logprobs": SamplingParams(seed=6, max_tokens=30, logprobs=3, ignore_eos=True),
    "min_tokens": SamplingParams(seed=7, max_tokens=30, min_tokens=25),
    "stop": SamplingParams(seed=8, max_tokens=60, ignore_eos=True, stop=("a", "cd")),
    "stop_ids": SamplingParams(seed=9, max_tokens=60, ignore_eos=True, stop_token_ids=(7, 9)),
    "several": SamplingParams(seed=11, max_tokens=20, n=3),
    "best_of": SamplingParams(seed=12, max_tokens=20, n=2, best_of=3),
    "context": SamplingParams(seed=10, max_tokens=None, ignore_eos=True),
}

LENGTHS = (3, 17, 40)


def greedy_oracle(plan, **how):
    return Oracle(lambda tokens, n: continuation(plan, tokens, n, 10**6), **how)


def answers_of(request):
    found = request.completion()
    return [(c.text, c.token_ids, c.finish_reason, c.stop_reason, c.logprobs) for c in (found, *found.others)]


def plain(plan, prompts, params):
    engine = engine_of(plan, n_seqs=6)
    return [(finish(engine, request), answers_of(request))[1]
            for request in (engine.generate(prompt, params) for prompt in prompts)]  # fmt: skip


@cache
def known(plan_name, params_name):
    """What follows the prompts of LENGTHS."""
    return plain(PLANS[plan_name], [PROMPT[:n] for n in LENGTHS], PARAMS[params_name])


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("plan_name", PLANS)
@pytest.mark.parametrize("every", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 10**9))])
def test_texts_are_those_of_plain_decoding(plan_name, name, every):
    plan, prompts = PLANS[plan_name], [PROMPT[:n] for n in LENGTHS]
    want = known(plan_name, name)
    texts = [[*prompt, *ids] for prompt, found in zip(prompts, want, strict=True) for _, ids, *_ in found]

    def knows(tokens, n):
        text = next((text for text in texts if text[: len(tokens)] == tokens), tokens)
        return [*text[len(tokens) :], *[1] * n][:n]

    engine = engine_of(plan, n_batch=40, n_seqs=6, speculate="ngram")
    engine.speculator = Oracle(knows, every, n_batch=40)
    requests = [engine.generate(prompt, PARAMS[name]) for prompt in prompts]
    finish(engine, *requests)
    assert [answers_of(request) for request in requests] == want
    check_cache(engine.cache, [])
    timings = [request.completion().timings for request in requests]
    assert all(t.n_accepted <= t.n_drafted for t in timings)
    assert sum(t.n_drafted for t in timings) > 0
    if every == 1:
        assert sum(t.n_accepted for t in timings) == 0
    if every == 10**9 and name != "best_of":  # of its texts one is not returned, so the oracle does not know it
        assert len(engine.model.program.steps) < max(len(ids) for found in want for _, ids, *_ in found)


def test_right_drafts_make_fewer_steps_and_their_blocks_are_named():
    engine = engine_of(n_seqs=1)
    engine.speculator = greedy_oracle(FULL, every=5)
    (a,) = finish(engine, engine.generate(PROMPT[:30], greedy(40, ignore_eos=True)))
    (want,) = plain(FULL, [PROMPT[:30]], greedy(40, ignore_eos=True))
    assert a.token_ids == want[0][1]
    assert a.timings.n_accepted >= 20
    engine.speculator = None
    (b,) = finish(engine, engine.generate([*PROMPT[:30], *a.token_ids, 3], greedy()))
    assert b.timings.n_cached == 64
    assert b.token_ids == continuation(FULL, [*PROMPT[:30], *a.token_ids, 3], 8, 96)


def test_every_text_keeps_its_row_and_prompts_half_of_the_rest():
    engine = engine_of(n_batch=8, n_seqs=4)
    engine.speculator = greedy_oracle(FULL, every=10**9, n_batch=8)
    texts = [engine.generate([i, i + 1], greedy(30, ignore_eos=True)) for i in range(1, 4)]
    while not all(text.answers[0].token_ids for text in texts):
        engine.step()
    engine.step()
    assert engine.model.program.steps[-1].n_tokens == 8
    assert np.diff(engine.model.program.steps[-1].seq_start).min() >= 1
    engine.generate(PROMPT[:60], greedy(4))
    engine.step()
    engine.step()
    assert sorted(np.diff(engine.model.program.steps[-1].seq_start).tolist())[-1] >= 3


def test_an_interrupted_step_can_be_made_again():
    engine = engine_of()
    engine.speculator = greedy_oracle(FULL, every=4)
    request = engine.generate(PROMPT[:40], greedy(30, ignore_eos=True))
    while not request.answers[0].token_ids:
        engine.step()
    for _ in range(3):
        engine.model.program.fail = MemoryError()
        with pytest.raises(MemoryError):
            engine.step()
        engine.model.program.fail = None
        engine.step()
    (completion,) = finish(engine, request)
    (want,) = plain(FULL, [PROMPT[:40]], greedy(30, ignore_eos=True))
    assert completion.token_ids == want[0][1]
    check_cache(engine.cache, [])


def test_interrupted_while_tokens_are_taken():
    engine = engine_of()
    engine.speculator = greedy_oracle(FULL, every=10**9)
    request = engine.generate(PROMPT[:40], greedy(30, ignore_eos=True))
    answer = request.answers[0]
    while not answer.token_ids:
        engine.step()
    sample, calls = answer._sample, []

    def interrupted(row):
        calls.append(row)
        if len(calls) == 3:
            raise KeyboardInterrupt
        sample(row)

    answer._sample = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    (completion,) = finish(engine, request)
    assert completion.token_ids == plain(FULL, [PROMPT[:40]], greedy(30, ignore_eos=True))[0][0][1]


def test_functions_of_a_batch_see_only_what_is_said():
    lengths = []

    def note(logits, histories):
        lengths.extend(map(len, histories))

    engine = engine_of()
    engine.speculator = greedy_oracle(FULL)
    (completion,) = finish(
        engine, engine.generate(PROMPT[:9], greedy(12, ignore_eos=True, samplers=[note, "temperature"]))
    )
    assert lengths == list(range(9, 21))
    assert completion.timings.n_drafted == 0


def test_a_drafter_learns_what_followed_and_is_freed():
    engine = engine_of()
    engine.speculator = greedy_oracle(FULL, every=3)
    request = engine.generate(PROMPT[:9], greedy(20, ignore_eos=True))
    finish(engine, request)
    (answer,) = request.answers
    assert [token for taken in answer.drafter.taken for token in taken] == answer.token_ids
    assert answer.drafter.freed
    assert answer.drafts is NO_DRAFTS


def test_states_are_kept_where_all_drafts_are_right_and_rows_computed_again_elsewhere():
    plan, n_rows = PLANS["stateful"], []
    for every in (10**9, 3):
        engine = engine_of(plan, n_seqs=1, speculate="ngram")
        engine.speculator = greedy_oracle(plan, every=every)
        (found,) = finish(engine, engine.generate(PROMPT[:30], greedy(40, ignore_eos=True)))
        assert found.token_ids == plain(plan, [PROMPT[:30]], greedy(40, ignore_eos=True))[0][0][1]
        n_rows.append(sum(step.n_tokens for step in engine.model.program.steps) - 30)
        n_rejected = found.timings.n_drafted - found.timings.n_accepted
        assert (n_rejected > 0) == (every == 3)
    assert n_rows[0] == 39
    assert n_rows[1] > 39 + n_rejected  # those accepted before a rejected one


def test_snapshots_are_taken_between_drafts():
    plan = PLANS["recurrent"]
    engine = engine_of(plan, n_ctx=600, n_seqs=1, speculate="ngram")
    engine.speculator = greedy_oracle(plan, every=10**9)
    params = greedy(300, ignore_eos=True)
    (found,) = finish(engine, engine.generate(PROMPT[:30], params))
    engine.speculator = None
    (again,) = finish(engine, engine.generate([*PROMPT[:30], *found.token_ids, 3], greedy(4)))
    assert again.timings.n_cached == 256
    assert again.token_ids == continuation(plan, [*PROMPT[:30], *found.token_ids, 3], 4, 600)


def test_a_paused_request_gets_no_drafts():
    engine = engine_of(speculate="ngram", n_seqs=4)
    request = engine.generate([1, 2, 3, 4, 5] * 8, SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True))
    engine.generate(PROMPT[:9], SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True))
    for _ in range(3):
        engine.step()
    request.is_paused = True
    guessed, guesses = [], engine.speculator.guesses
    engine.speculator.guesses = lambda answers: guessed.extend(answers) or guesses(answers)
    for _ in range(3):
        engine.step()
    assert guessed
    assert request.answers[0] not in guessed


def test_lookup_in_an_engine():
    engine = engine_of(speculate="ngram", n_draft=5)
    engine.speculator.cost = FlatCost(32)
    params = greedy(20, allowed_token_ids=(5, 6), repetition_penalty=1.5, penalty_last_n=2)
    (found,) = finish(engine, engine.generate(PROMPT[:9], params))
    assert found.token_ids == plain(FULL, [PROMPT[:9]], params)[0][0][1]
    assert found.timings.n_drafted > 0


class SpeculatingMachine(EngineMachine):
    """The same course of events, with drafts that are right three times out of four."""

    def __init__(self):
        super().__init__()
        self.engine = engine_of(self.plan, n_ctx=64, n_seqs=2, n_batch=12, speculate="ngram")
        self.engine.speculator = greedy_oracle(self.plan, n_batch=12)


@pytest.mark.parametrize("n_examples", [15, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_any_course_of_events(name, n_examples):
    machine = type("Machine", (SpeculatingMachine,), {"plan": PLANS[name]})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=n_examples, stateful_step_count=25, deadline=None)
    )
