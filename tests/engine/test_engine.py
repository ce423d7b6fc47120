"""Requests through an engine: each gets what it would get alone, and nothing is left behind."""

import os
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from realizar.engine import request as requests
from realizar.engine import scheduler
from realizar.engine.engine import Engine
from realizar.errors import ContextFullError, ParameterError, RealizarError
from realizar.params import EngineParams, SamplingParams
from tests.clocks import Clock, wait_until
from tests.engine.fake import EOG, FULL, N_VOCAB, PLANS, FakeModel, check_cache, continuation, expected

PROMPT = [1 + i % 29 for i in range(100)]


def engine_of(plan=FULL, **params):
    defaults = {"n_ctx": 96, "n_seqs": 2, "n_batch": 32, "kv_type": "f32", "n_threads": 2}
    return Engine(FakeModel(plan), EngineParams(**{**defaults, **params}))


def greedy(n=8, **params):
    return SamplingParams(temperature=0.0, max_tokens=n, **params)


def finish(engine, *requests):
    engine.wait(lambda: all(request.is_over for request in requests))
    return [request.completion() for request in requests]


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def test_batched_equals_alone(plan):
    engine = engine_of(plan)
    prompts = [PROMPT[:n] for n in (1, 5, 16, 17, 40, 61, 80)]
    completions = finish(engine, *(engine.generate(prompt, greedy(20)) for prompt in prompts))
    for prompt, completion in zip(prompts, completions, strict=True):
        assert completion.token_ids == continuation(plan, prompt, 20, 96)
    check_cache(engine.cache, [])


def test_decodes_go_on_while_a_long_prompt_is_computed():
    engine = engine_of(n_batch=8)
    first = engine.generate([5], greedy(20, ignore_eos=True))
    engine.step()
    engine.generate(PROMPT[:60], greedy(4, ignore_eos=True))
    for i in range(2, 6):
        engine.step()
        assert len(first.answers[0].token_ids) == i
    assert engine.model.program.steps[-1].n_tokens == 8
    assert engine.model.program.steps[-1].n_seqs == 2


def test_the_same_prompt_again_is_found_in_the_cache():
    engine = engine_of()
    (a,) = finish(engine, engine.generate(PROMPT[:50], greedy()))
    (b,) = finish(engine, engine.generate(PROMPT[:50], greedy()))
    assert (a.timings.n_cached, b.timings.n_cached) == (0, 48)
    assert a.token_ids == b.token_ids


def test_an_answer_is_found_when_the_next_turn_repeats_it():
    engine = engine_of()
    (a,) = finish(engine, engine.generate(PROMPT[:30], greedy(24, ignore_eos=True)))
    (b,) = finish(engine, engine.generate([*PROMPT[:30], *a.token_ids, 3, 4], greedy()))
    assert b.timings.n_cached == 48


def test_score_gives_every_row(plan):
    engine = engine_of(plan, n_batch=7)
    request = engine.logits(PROMPT[:50])
    other = engine.generate(PROMPT[:50], greedy())
    engine.wait(lambda: request.is_over and other.is_over)
    np.testing.assert_array_equal(request.logits, [expected(plan, PROMPT[: i + 1]) for i in range(50)])
    check_cache(engine.cache, [])


def test_how_a_request_ends():
    prompt = PROMPT[:9]
    ids = continuation(FULL, prompt, 30, 96)
    text = "".join(chr(96 + i) for i in ids)
    engine = engine_of()
    by_count, by_id, by_string = finish(
        engine,
        engine.generate(prompt, greedy(3)),
        engine.generate(prompt, greedy(30, stop_token_ids=(ids[2],))),
        engine.generate(prompt, greedy(30, stop=text[1:3])),
    )
    assert (by_count.finish_reason, by_count.stop_reason, by_count.text) == ("length", None, text[:3])
    assert (by_id.finish_reason, by_id.stop_reason, by_id.text) == ("stop_token", ids[2], text[:2])
    assert (by_string.finish_reason, by_string.stop_reason, by_string.text) == ("stop_string", text[1:3], text[:1])
    assert by_id.token_ids == by_string.token_ids == ids[:3]


def test_end_of_generation_ends_unless_ignored():
    prompt = next(
        p for p in ([i, j] for i in range(1, 30) for j in range(1, 30)) if EOG in continuation(FULL, p, 40, 96)
    )
    engine = engine_of()
    ended, ignored = finish(
        engine, engine.generate(prompt, greedy(40)), engine.generate(prompt, greedy(40, ignore_eos=True))
    )
    assert (ended.finish_reason, ended.stop_reason, ended.token_ids[-1]) == ("eos", EOG, EOG)
    assert (ignored.finish_reason, len(ignored.token_ids)) == ("length", 40)


def test_the_context_ends_a_text():
    engine = engine_of(n_seqs=1)
    full, nearly = finish(
        engine,
        engine.generate(PROMPT[:96], greedy(50, ignore_eos=True)),
        engine.generate(PROMPT[:90], SamplingParams(temperature=0.0, max_tokens=None, ignore_eos=True)),
    )
    assert (full.finish_reason, len(full.token_ids)) == ("context", 1)
    assert (nearly.finish_reason, len(nearly.token_ids)) == ("context", 7)
    with pytest.raises(ContextFullError, match="97 tokens do not fit into the context of 96"):
        engine.generate([1] * 97, greedy())


@pytest.mark.parametrize("prompt", [[], [N_VOCAB], [-1], ["a"], [1.5], 7, [1 << 40]])
def test_bad_prompts(prompt):
    engine = engine_of()
    for ask in (lambda: engine.generate(prompt, greedy()), lambda: engine.logits(prompt)):
        with pytest.raises(ParameterError):
            ask()


def test_logprobs():
    engine = engine_of()
    (completion,) = finish(engine, engine.generate(PROMPT[:9], greedy(4, logprobs=3, ignore_eos=True)))
    tokens = PROMPT[:9]
    assert len(completion.logprobs) == 4
    for token, found in zip(completion.token_ids, completion.logprobs, strict=True):
        logits = expected(FULL, tokens).astype(float)
        want = logits - np.log(np.exp(logits).sum())
        order = sorted(range(N_VOCAB), key=lambda i: (-want[i], i))[:3]
        assert found.token_id == token
        assert [i for i, _ in found.top] == order
        np.testing.assert_allclose([found.logprob, *(p for _, p in found.top)], [want[token], *want[order]], rtol=1e-6)
        tokens = [*tokens, token]


def test_a_seed_gives_the_same_text_whatever_else_is_computed():
    params = SamplingParams(temperature=1.0, seed=7, max_tokens=20, ignore_eos=True)
    engine = engine_of()
    (alone,) = finish(engine, engine.generate(PROMPT[:20], params))
    other = engine.generate(PROMPT[:33], greedy(30))
    batched, _ = finish(engine, engine.generate(PROMPT[:20], params), other)
    assert alone.token_ids == batched.token_ids
    (fresh,) = finish(engine, engine.generate(PROMPT[:20], SamplingParams(max_tokens=20, ignore_eos=True)))
    assert fresh.token_ids != alone.token_ids


def test_cancelled_requests_give_their_blocks_back():
    engine = engine_of()
    running, waiting = engine.generate(PROMPT[:60], greedy(30)), engine.generate(PROMPT[:61], greedy(30))
    third = engine.generate(PROMPT[:9], greedy(5))
    engine.step()
    running.cancel()
    waiting.cancel()
    (completion,) = finish(engine, third)
    assert completion.token_ids == continuation(FULL, PROMPT[:9], 5, 96)
    assert running.completion().finish_reason == "cancelled"
    check_cache(engine.cache, [])


def test_a_failing_sampler_fails_its_request_alone(monkeypatch):
    engine = engine_of()
    bad, good = engine.generate(PROMPT[:9], greedy(5)), engine.generate(PROMPT[:12], greedy(5))

    def fail(*args):
        raise RealizarError("no candidate is left")

    bad.answers[0]._sampler = type("Bad", (), {"sample": fail})()
    _, completion = finish(engine, bad, good)
    assert str(bad.error) == "no candidate is left"
    assert completion.token_ids == continuation(FULL, PROMPT[:12], 5, 96)
    check_cache(engine.cache, [])


def test_threads_share_an_engine():
    engine = engine_of(n_seqs=3)
    results = {}

    def ask(n):
        request = engine.generate(PROMPT[:n], greedy(20))
        engine.wait(lambda: request.is_over)
        results[n] = request.completion().token_ids

    threads = [threading.Thread(target=ask, args=(n,)) for n in (3, 19, 33, 41, 60, 70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: continuation(FULL, PROMPT[:n], 20, 96) for n in results}
    assert len(results) == 6
    check_cache(engine.cache, [])


def test_a_closed_engine_says_so():
    engine = engine_of()
    request = engine.generate(PROMPT[:9], greedy(5))
    engine.close()
    with pytest.raises(RealizarError, match="closed"):
        engine.wait(lambda: request.is_over)


def slow_step(engine):
    """A step that has begun in another thread; it ends when the event that is returned last is set."""
    begun, go_on = threading.Event(), threading.Event()
    run, failed = engine.model.program.run, []

    def slow(batch, outputs=None):
        begun.set()
        go_on.wait()
        return run(batch, outputs)

    def ask():
        try:
            finish(engine, engine.generate(PROMPT[:9], greedy(80)))
        except RealizarError as error:
            failed.append(error)

    engine.model.program.run = slow
    thread = threading.Thread(target=ask)
    thread.start()
    begun.wait()
    return thread, failed, go_on


def test_closing_waits_for_one_step_and_no_more():
    engine = engine_of()
    asking, failed, go_on = slow_step(engine)
    closing = threading.Thread(target=engine.close)
    closing.start()
    wait_until(lambda: engine.is_closed)
    assert not engine.model.closed
    go_on.set()
    closing.join()
    asking.join()
    assert engine.model.closed
    assert "closed" in str(failed[0])
    assert len(engine.model.program.steps) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_goes_on_though_another_thread_stepped():
    engine = engine_of()
    asking, _, go_on = slow_step(engine)
    child = os.fork()
    if child == 0:
        (found,) = finish(engine, engine.generate(PROMPT[:7], greedy(5)))
        os._exit(0 if found.token_ids == continuation(FULL, PROMPT[:7], 5, 96) else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    asking.join()


class EngineMachine(RuleBasedStateMachine):
    """Requests come, are stepped and cancelled in any order, through a cache too small for all of them."""

    plan = FULL

    def __init__(self):
        super().__init__()
        self.engine = engine_of(self.plan, n_ctx=64, n_seqs=2, n_batch=12)
        self.asked = []
        self.scored = []

    @rule(n=st.integers(1, 64), fill=st.integers(1, 3), share=st.integers(0, 4), n_max=st.integers(1, 40))
    def generate(self, n, fill, share, n_max):
        kept = n * share // 4
        prompt = [*PROMPT[:kept], *[fill] * (n - kept)]
        self.asked.append((prompt, n_max, self.engine.generate(prompt, greedy(n_max))))

    @rule(n=st.integers(1, 64))
    def score(self, n):
        self.scored.append((n, self.engine.logits(PROMPT[:n])))

    @rule(n=st.integers(1, 12))
    def step(self, n):
        for _ in range(n):
            self.engine.step()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data):
        data.draw(st.sampled_from(self.asked))[2].cancel()

    @invariant()
    def accounts_are_right(self):
        check_cache(self.engine.cache, [request.seq for request in self.engine.scheduler.running])
        for prompt, n_max, request in self.asked:
            if request.finished:
                assert request.answers[0].token_ids == continuation(self.plan, prompt, n_max, 64)

    def teardown(self):
        steps = 0
        while not all(request.is_over for _, _, request in self.asked) or not all(r.is_over for _, r in self.scored):
            self.engine.step()
            steps += 1
            assert steps < 200 * (1 + len(self.asked) + len(self.scored)), "a request is never finished"
        self.accounts_are_right()
        for n, request in self.scored:
            np.testing.assert_array_equal(request.logits, [expected(self.plan, PROMPT[: i + 1]) for i in range(n)])
        self.engine.step()
        check_cache(self.engine.cache, [])


@pytest.mark.parametrize("n_examples", [15, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PLANS)
def test_any_course_of_events(name, n_examples):
    machine = type("Machine", (EngineMachine,), {"plan": PLANS[name]})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=n_examples, stateful_step_count=25, deadline=None)
    )


def test_time_ends_a_text_where_it_is(monkeypatch):
    clock = Clock(tick=1.0)
    for module in (scheduler, requests):
        monkeypatch.setattr(module, "time", clock)
    engine = engine_of(n_seqs=1)
    prompt = PROMPT[:40]
    timed, waiting, other = (
        engine.generate(asked, greedy(n, ignore_eos=True, max_time=time))
        for asked, n, time in ((prompt, 40, 11.0), ([5] * 90, 6, 10.0), (prompt, 40, None))
    )
    first, second, third = finish(engine, timed, waiting, other)
    want = continuation(FULL, prompt, 40, 96)
    assert (first.finish_reason, first.stop_reason) == ("time", None)
    assert 0 < len(first.token_ids) < 12
    assert first.token_ids == want[: len(first.token_ids)]
    assert (second.finish_reason, second.token_ids, second.text) == ("time", [], "")  # its turn never came
    assert (third.finish_reason, third.token_ids) == ("length", want)
    check_cache(engine.cache, [])


def test_time_ends_a_prompt_that_is_not_computed_yet(monkeypatch):
    clock = Clock(tick=1.0)
    for module in (scheduler, requests):
        monkeypatch.setattr(module, "time", clock)
    engine = engine_of(n_batch=4)
    (completion,) = finish(engine, engine.generate(PROMPT[:80], greedy(max_time=5.0)))
    assert (completion.finish_reason, completion.text) == ("time", "")
    check_cache(engine.cache, [])


def test_a_text_that_ends_in_time_says_so():
    engine = engine_of()
    (completion,) = finish(engine, engine.generate(PROMPT[:9], greedy(3, max_time=3600.0)))
    assert completion.finish_reason == "length"
    engine.step()
    assert not engine.scheduler._timed
