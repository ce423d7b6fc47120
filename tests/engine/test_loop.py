"""The engine's loop: it steps while there is work, whoever reads; handles, pauses, and how it ends."""

import gc
import math
import threading
import weakref
from functools import partial
from queue import SimpleQueue

import pytest

from realizar.engine.handle import MOST_UNREAD, Feed
from realizar.engine.loop import Waiter
from realizar.engine.output import ErrorEvent, FinishEvent, TextEvent, TokensEvent
from realizar.errors import RealizarError, RequestError
from tests.clocks import wait_until
from tests.engine.fake import FULL, check_cache, continuation
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy
from tests.engine.test_several import draws


def test_nobody_needs_to_read():
    engine = engine_of()
    handle = engine.loop.submit(engine.generate(PROMPT[:9], greedy(20, ignore_eos=True)))
    wait_until(lambda: handle.request.is_over)
    events = list(handle)
    tokens = [token for event in events if isinstance(event, TokensEvent) for token in event.token_ids]
    text = "".join(event.text for event in events if isinstance(event, TextEvent))
    assert isinstance(events[-1], FinishEvent)
    assert events[-1].completion.token_ids == tokens == continuation(FULL, PROMPT[:9], 20, 96)[:20]
    assert events[-1].completion.text == text
    assert list(handle) == []


def test_events_of_several_texts():
    engine = engine_of(n_seqs=4)
    events = list(engine.loop.submit(engine.generate(PROMPT[:9], draws(8, n=3, logprobs=2))))
    for number, output in enumerate(events[-1].completion.outputs):
        own = [event for event in events[:-1] if event.number == number]
        tokens = [event for event in own if isinstance(event, TokensEvent)]
        assert [token for event in tokens for token in event.token_ids] == output.token_ids
        assert [sampled for event in tokens for sampled in event.logprobs] == output.logprobs
        assert "".join(event.text for event in own if isinstance(event, TextEvent)) == output.text


def test_a_request_that_nobody_reads_pauses_and_others_go_on():
    engine = engine_of(n_ctx=256, n_seqs=1)
    handle = engine.loop.submit(engine.generate([3], greedy(200, ignore_eos=True)))
    wait_until(lambda: handle.request.is_paused)
    assert len(handle.request.answers[0].token_ids) == MOST_UNREAD
    large = engine.generate([5] * 250, greedy(4, ignore_eos=True))  # needs the blocks of the paused one
    (completion,) = finish(engine, large)
    assert len(completion.token_ids) == 4
    assert engine.scheduler.n_preempted == 1
    events = list(handle)
    other = engine_of(n_ctx=256)
    assert (
        events[-1].completion.token_ids == finish(other, other.generate([3], greedy(200, ignore_eos=True)))[0].token_ids
    )
    engine.close()
    check_cache(engine.cache, [])


def test_time_is_over_though_nobody_reads():
    engine = engine_of(n_ctx=256)
    request = engine.generate([3], greedy(200, ignore_eos=True, max_time=1e9))
    handle = engine.loop.submit(request)
    wait_until(lambda: request.is_paused)
    request.deadline = -math.inf
    engine.loop.wake()
    wait_until(lambda: request.is_over)
    *_, last = handle
    assert last.completion.finish_reason == "time"
    wait_until(lambda: not engine.scheduler.running)
    check_cache(engine.cache, [])


def test_time_is_over_though_nobody_waits():
    """The thread, which is there for others, ends the request and sleeps again."""
    engine = engine_of()
    finish(engine, engine.generate([3], greedy(1)))
    request = engine.generate([3], greedy(20, ignore_eos=True, max_time=1e9))
    request.deadline = -math.inf
    engine.loop.wake()
    wait_until(lambda: request.is_over)
    assert engine.scheduler.seconds_left() is None
    assert request.completion().finish_reason == "time"


def test_a_queue_that_is_read_empty_while_it_pauses_its_request():
    """The one who reads sees no pause yet, and nothing would wake it again."""

    class Queue(SimpleQueue):
        def qsize(self):
            n = super().qsize()
            while not self.empty():
                feed.take()
            return n

    engine = engine_of()
    request = engine.generate([3], greedy(20, ignore_eos=True))
    feed = Feed(request, most=1)
    feed._queue = Queue()
    while not request.answers[0].token_ids:
        engine.step()
    feed.deliver()
    assert feed.is_empty
    assert not request.is_paused
    request.cancel()


def test_whoever_wakes_badly_disturbs_nobody():
    engine = engine_of()
    done = []

    def fail():
        done.append(1)
        raise RuntimeError("Event loop is closed")

    engine.loop.start()
    engine.loop.add(Waiter(lambda: True, fail))
    (completion,) = finish(engine, engine.generate(PROMPT[:9], greedy()))
    assert completion.token_ids == continuation(FULL, PROMPT[:9], 8, 96)
    assert done == [1]


def test_after_an_error_of_a_step_everything_is_given_back():
    engine = engine_of()
    handle = engine.loop.submit(engine.generate([3], greedy(90, ignore_eos=True)))
    next(handle)
    engine.model.program.fail = MemoryError()
    *_, last = handle
    assert isinstance(last, ErrorEvent)
    wait_until(lambda: not engine.scheduler.running)
    check_cache(engine.cache, [])


def test_cancel_and_drop():
    engine = engine_of(n_ctx=256)
    handle = engine.loop.submit(engine.generate([3], greedy(200, ignore_eos=True)))
    next(handle)
    handle.cancel()
    *_, last = handle
    assert last.completion.finish_reason == "cancelled"
    dropped = engine.loop.submit(engine.generate([4], greedy(200, ignore_eos=True)))
    request = dropped.request
    del dropped
    gc.collect()
    assert request.cancelled
    wait_until(lambda: not engine.scheduler.running and not engine.scheduler.waiting)
    check_cache(engine.cache, [])


def test_an_error_is_the_last_event():
    class Fails:
        def apply(self, candidates, history):
            raise KeyError("by hand")

    engine = engine_of()
    bad = engine.loop.submit(engine.generate([3], greedy(samplers=(Fails(), "temperature"))))
    good = engine.loop.submit(engine.generate(PROMPT[:9], greedy()))
    (event,) = bad
    assert isinstance(event, ErrorEvent)
    assert isinstance(event.error, RequestError)
    assert list(good)[-1].completion.token_ids == continuation(FULL, PROMPT[:9], 8, 96)


def test_an_error_of_a_step_reaches_all_who_wait():
    engine = engine_of()
    engine.model.program.fail = MemoryError()
    handle = engine.loop.submit(engine.generate(PROMPT[:9], greedy()))
    *_, last = handle
    assert isinstance(last, ErrorEvent)
    assert isinstance(last.error, MemoryError)
    engine.model.program.fail = None
    (completion,) = finish(engine, engine.generate(PROMPT[:9], greedy()))
    assert completion.token_ids == continuation(FULL, PROMPT[:9], 8, 96)
    check_cache(engine.cache, [])


def test_many_threads_follow_requests():
    engine, found = engine_of(n_seqs=3), {}

    def follow(n):
        *_, last = engine.loop.submit(engine.generate(PROMPT[:n], greedy(20)))
        found[n] = last.completion.token_ids

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(1, 40, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: continuation(FULL, PROMPT[:n], 20, 96) for n in range(1, 40, 3)}
    wait_until(lambda: not engine.scheduler.running)
    check_cache(engine.cache, [])


def test_close_ends_handles_and_thread():
    engine = engine_of(n_ctx=256)
    handle = engine.loop.submit(engine.generate([3], greedy(200, ignore_eos=True)))
    thread = engine.loop._thread
    engine.close()
    assert not thread.is_alive()
    with pytest.raises(RealizarError, match="closed before the request was done"):
        next(handle)
    with pytest.raises(RealizarError, match="closed"):
        engine.loop.submit(engine.generate([3], greedy()))


def test_the_thread_keeps_no_engine_alive():
    engine = engine_of(n_ctx=256)
    handle = engine.loop.submit(engine.generate([3], greedy(200, ignore_eos=True)))
    thread, alive = engine.loop._thread, weakref.ref(engine)
    wait_until(partial(getattr, handle.request, "is_paused"))
    del engine
    next(handle)  # a handle does
    del handle
    wait_until(lambda: gc.collect() is not None and not thread.is_alive())
    assert alive() is None
