"""What a request's own code raises ends that request alone, and reaches the thread that waits for it."""

import sys
import threading

import numpy as np
import pytest

from realizar.engine.engine import Engine
from realizar.errors import GrammarError, RealizarError, RequestError
from realizar.params import EngineParams, SamplingParams
from tests.engine.fake import FULL, FakeModel, check_cache, continuation

PROMPT = [1 + i % 29 for i in range(100)]


class SaysNothing(Exception):
    """An exception that cannot even be shown."""

    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __str__


def overflow():
    return overflow()


def allocate():
    return np.empty(2**50)


def fail(error):
    def raising():
        raise error

    return raising


FAILURES = {
    "KeyError": fail(KeyError("by hand")),
    "TypeError": fail(TypeError("by hand")),
    "ValueError": fail(ValueError("by hand")),
    "SaysNothing": fail(SaysNothing()),
    "RecursionError": overflow,
    "MemoryError": allocate,
    "StopIteration": fail(StopIteration()),
}


class Sampler:
    """Fails in one of its methods, the third time that it is called."""

    def __init__(self, method, act, calls=None):
        self.method, self.act, self.calls = method, act, [] if calls is None else calls

    def _called(self, method):
        if method == self.method:
            self.calls.append(method)
            if len(self.calls) >= (1 if method in ("reset_copy", "fork") else 3):
                self.act()

    def apply(self, candidates, history):
        self._called("apply")

    def reset_copy(self):
        self._called("reset_copy")
        return Sampler(self.method, self.act)

    def fork(self):
        self._called("fork")
        return Sampler(self.method, self.act, self.calls)

    def accept(self, candidates, token_id):
        self._called("accept")


class Function:
    """A function of a batch that fails at its third call, or when it is asked for its hash."""

    def __init__(self, method, act):
        self.method, self.act, self.n = method, act, 0

    def __call__(self, logits, histories):
        self.n += 1
        if self.method == "function" and self.n >= 3:
            self.act()

    def __hash__(self):
        if self.method == "hash":
            self.act()
        return 1

    def __eq__(self, other):
        return self is other


def engine_of():
    return Engine(FakeModel(FULL), EngineParams(n_ctx=96, n_seqs=4, n_batch=32, kv_type="f32", n_threads=2))


def greedy(*samplers, n=12, **more):
    named = {"samplers": [*samplers, "temperature"]} if samplers else {}
    return SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True, **named, **more)


def right(request, n_prompt):
    return request.answers[0].token_ids == continuation(FULL, PROMPT[:n_prompt], 12, 96)


def own(method, act):
    return (Function if method in ("function", "hash") else Sampler)(method, act)


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("method", ["apply", "accept", "function", "hash"])
def test_a_failure_ends_its_request_alone(method, name):
    engine = engine_of()
    good = engine.generate(PROMPT[:9], greedy())
    bad = engine.generate(PROMPT[:12], greedy(own(method, FAILURES[name])))
    after = engine.generate(PROMPT[:20], greedy())
    engine.wait(lambda: good.is_over and bad.is_over and after.is_over)
    assert isinstance(bad.error, RequestError)
    assert isinstance(bad.error.__cause__, Exception)
    assert (type(bad.error.__cause__).__name__ == name) or name == "MemoryError"  # numpy's is a subclass
    assert "samplers" in str(bad.error)
    assert name in str(bad.error) or name == "MemoryError"
    assert str(bad.error).isprintable()
    assert right(good, 9)
    assert right(after, 20)
    check_cache(engine.cache, [])


def test_the_error_names_what_failed_and_how_much_was_asked():
    engine = engine_of()
    with pytest.raises(RequestError, match=r"samplers: <.*Sampler object.*> failed: .*Unable to allocate 8\.00 PiB"):
        engine.complete([engine.generate(PROMPT[:12], greedy(Sampler("apply", allocate)))])


def test_a_sampler_that_fails_at_intake_is_refused():
    engine = engine_of()
    with pytest.raises(RequestError, match="failed: KeyError: 'by hand'"):
        engine.generate(PROMPT[:12], greedy(Sampler("reset_copy", FAILURES["KeyError"])))


def test_a_sampler_that_fails_between_the_steps_of_beams():
    engine = engine_of()
    good = engine.generate(PROMPT[:9], greedy())
    bad = engine.beam_search(PROMPT[:12], greedy(Sampler("fork", FAILURES["KeyError"]), n_beams=3))
    engine.wait(lambda: good.is_over and bad.is_over)
    assert isinstance(bad.error, RequestError)
    assert right(good, 9)
    check_cache(engine.cache, [])


def test_what_fails_outside_of_samplers(monkeypatch):
    """Code of ours that runs for one request: choosing what to compute, and ending it when its time is over."""
    engine = engine_of()
    for method, params in (("next_chunks", greedy()), ("expire", greedy(max_time=1e-6))):
        good, bad = engine.generate(PROMPT[:9], greedy()), engine.generate(PROMPT[:12], params)
        monkeypatch.setattr(bad, method, FAILURES["KeyError"] if method == "expire" else lambda budget: {}["x"])
        engine.wait(lambda good=good, bad=bad: good.is_over and bad.is_over)
        assert isinstance(bad.error, RequestError)
        assert isinstance(bad.error.__cause__, KeyError)
        assert right(good, 9)
    check_cache(engine.cache, [])


def test_errors_of_ours_stay_what_they_are():
    engine = engine_of()
    with pytest.raises(GrammarError, match="by hand"):
        engine.complete([engine.generate(PROMPT[:12], greedy(Sampler("apply", fail(GrammarError("by hand")))))])


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("method", ["apply", "accept", "function"])
def test_what_is_no_exception_reaches_who_waits_for_the_request(method, kind):
    engine, caught = engine_of(), {}

    def ask(n, *samplers):
        request = engine.generate(PROMPT[:n], greedy(*samplers))
        try:
            engine.complete([request])
            caught[n] = right(request, n)
        except BaseException as error:
            caught[n] = type(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in (3, 9, 20)]
    threads.append(threading.Thread(target=ask, args=(12, own(method, fail(kind("by hand"))))))
    for thread in threads:
        thread.start()
    ask(7)  # the main thread, too
    for thread in threads:
        thread.join()
    assert caught == {3: True, 9: True, 20: True, 7: True, 12: kind}
    with pytest.raises(kind):
        engine.complete([engine.generate(PROMPT[:12], greedy(own(method, fail(kind("by hand")))))])
    ask(30)
    assert caught[30] is True
    check_cache(engine.cache, [])


def test_many_threads_and_one_of_them_fails_all_the_time():
    """At commit 0bc8e36 a KeyError was raised in whichever thread stepped, in 46 of 48 tries in an innocent one."""
    engine, wrong, done = engine_of(), [], threading.Event()

    def fails():
        while not done.is_set():
            try:
                engine.complete([engine.generate(PROMPT[:12], greedy(Sampler("apply", FAILURES["KeyError"])))])
                wrong.append("no error")
            except RequestError:
                pass

    def asks(n):
        try:
            for _ in range(12):
                request = engine.generate(PROMPT[:n], greedy())
                engine.complete([request])
                if not right(request, n):
                    wrong.append(request.answers[0].token_ids)
        except BaseException as error:
            wrong.append(error)

    failing = threading.Thread(target=fails)
    failing.start()
    asking = [threading.Thread(target=asks, args=(n,)) for n in (3, 9, 20, 33)]
    for thread in asking:
        thread.start()
    asks(7)
    for thread in asking:
        thread.join()
    done.set()
    failing.join()
    assert wrong == []
    check_cache(engine.cache, [])


def test_a_thread_that_has_no_stack_left_harms_itself_alone():
    engine, found = engine_of(), []
    innocent = engine.generate(PROMPT[:9], greedy())

    def deep(n):
        if n:
            deep(n - 1)
            return
        try:
            engine.wait(lambda: innocent.is_over)
        except RecursionError:
            found.append(innocent.error)

    def try_all():
        for n in range(sys.getrecursionlimit() - 130, sys.getrecursionlimit()):
            try:
                deep(n)
            except RecursionError:  # before it came to ask
                found.append(innocent.error)

    thread = threading.Thread(target=try_all)
    thread.start()
    thread.join()
    assert len(found) >= 100
    assert set(found) == {None}
    engine.complete([innocent])
    assert right(innocent, 9)


def test_a_request_error_is_a_realizar_error():
    assert issubclass(RequestError, RealizarError)
