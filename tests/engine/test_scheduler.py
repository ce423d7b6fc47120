"""Who has its turn when: priorities, passing, limits, and what the engine counts."""

import pytest

from realizar.engine import scheduler
from realizar.errors import BusyError, ParameterError
from tests.engine.fake import check_cache
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy
from tests.engine.test_several import draws


@pytest.mark.parametrize("method", ["generate", "logits", "score"])
def test_those_with_more_priority_go_first(method):
    engine = engine_of(n_seqs=1)
    order = []
    more = {"generate": (greedy(4, ignore_eos=True),), "logits": (), "score": ([1, 2], 1)}[method]
    requests = {p: getattr(engine, method)([5 + p] * 90, *more, priority=p) for p in (0, 2, -1, 1)}
    while not all(request.is_over for request in requests.values()):
        engine.step()
        order += [p for p, request in requests.items() if request.is_over and p not in order]
    assert order == [2, 1, 0, -1]


def test_more_priority_preempts_less():
    engine = engine_of(n_seqs=1)
    low = engine.generate(PROMPT[:60], greedy(30, ignore_eos=True))
    for _ in range(6):
        engine.step()
    high = engine.generate([7] * 80, greedy(8, ignore_eos=True), priority=1)
    engine.step()
    assert engine.scheduler.running == [high]
    assert engine.scheduler.waiting == [low]
    one, two = finish(engine, low, high)
    alone = engine_of(n_seqs=1)
    assert one.token_ids == finish(alone, alone.generate(PROMPT[:60], greedy(30, ignore_eos=True)))[0].token_ids
    assert len(two.token_ids) == 8
    check_cache(engine.cache, [])


def test_none_is_preempted_where_that_would_not_make_room():
    engine = engine_of(n_ctx=256, n_seqs=1, n_batch=64)  # 16 blocks
    large = engine.generate([1] * 150, greedy(100, ignore_eos=True), priority=1)
    for _ in range(4):
        engine.step()
    small = engine.generate([2] * 30, greedy(20, ignore_eos=True))
    engine.step()
    waits = engine.generate([3] * 140, greedy(1), priority=1)
    while not small.is_over:
        engine.step()
        assert waits in engine.scheduler.waiting
    assert engine.scheduler.n_preempted == 0
    large.cancel()
    finish(engine, waits)


def test_blocks_that_only_a_victim_holds_are_room():
    """Also where two texts of it share them."""
    engine = engine_of(n_ctx=256, n_seqs=1, n_batch=64)
    several = engine.generate(PROMPT[:96] + PROMPT[:90], draws(20, n=2))
    for _ in range(6):
        engine.step()
    high = engine.generate([3] * 230, greedy(1), priority=1)
    engine.step()
    assert engine.scheduler.running == [high]
    completion, _ = finish(engine, several, high)
    assert [len(output.token_ids) for output in completion.outputs] == [20, 20]
    check_cache(engine.cache, [])


def test_the_newest_is_preempted_and_the_oldest_never():
    engine = engine_of(n_seqs=1, n_batch=64)
    requests = [engine.generate([1 + i, 2], greedy(60, ignore_eos=True)) for i in range(4)]
    preempted = []
    preempt = engine.scheduler._preempt
    engine.scheduler._preempt = lambda request: preempted.append(request.number) or preempt(request)
    finish(engine, *requests)
    assert preempted
    assert preempted[0] == 3
    assert 0 not in preempted


def test_a_smaller_request_passes_a_larger_one_but_not_for_ever():
    engine = engine_of(n_seqs=1, n_batch=64)
    first = engine.generate(PROMPT[:40], greedy(50, ignore_eos=True))
    engine.step()
    large = engine.generate([9] * 90, greedy(4, ignore_eos=True))
    small = [engine.generate([1 + i], greedy(1)) for i in range(20)]
    for _ in range(4):
        engine.step()
    assert large.n_passed == scheduler.MAX_PASSED
    assert sum(request.is_over for request in small) == scheduler.MAX_PASSED
    finish(engine, first, large, *small)
    check_cache(engine.cache, [])


def test_too_many_wait():
    engine = engine_of(n_seqs=1, max_waiting=2)
    running = engine.generate(PROMPT[:90], greedy(4))
    engine.step()
    waiting = [engine.generate(PROMPT[:90], greedy(4)) for _ in range(2)]
    with pytest.raises(BusyError, match="2 requests wait already, and max_waiting=2"):
        engine.generate(PROMPT[:90], greedy(4))
    finish(engine, running, *waiting)
    finish(engine, engine.generate(PROMPT[:90], greedy(4)))
    with pytest.raises(ParameterError, match="max_waiting=0"):
        engine_of(max_waiting=0)


def test_those_given_up_do_not_wait():
    engine = engine_of(n_seqs=1, max_waiting=2)
    for request in [engine.generate(PROMPT[:90], greedy(4)) for _ in range(2)]:
        request.cancel()
    assert engine.stats().n_waiting == 0
    for request in [engine.generate(PROMPT[:90], greedy(4)) for _ in range(2)]:
        finish(engine, request)


@pytest.mark.parametrize("priority", [1.5, "1", None, True])
def test_what_is_no_priority(priority):
    with pytest.raises(ParameterError, match="priority="):
        engine_of().generate([1], greedy(), priority=priority)


def test_statistics():
    engine = engine_of(n_batch=64)
    finish(engine, engine.generate(PROMPT[:50], greedy(8, ignore_eos=True)))
    finish(engine, engine.generate(PROMPT[:50], greedy(8, ignore_eos=True)))
    engine.generate(PROMPT[:20], greedy(8, ignore_eos=True))
    waiting = engine.stats()
    engine.step()
    stats = engine.stats()
    assert (waiting.n_waiting, waiting.n_running, stats.n_waiting, stats.n_running) == (1, 0, 0, 1)
    assert (stats.n_prompt, stats.n_cached, stats.n_generated) == (120, 48 + 16, 17)
    assert stats.hit_rate == 64 / 120
    assert stats.n_computed == 50 + 7 + 2 + 7 + 4
    assert stats.n_steps == 17
    assert (stats.n_blocks, stats.n_blocks_used) == (12, 2)
    assert stats.cache_use == 2 / 12
    assert stats.step_s >= stats.last_step_s > 0
