"""Calls from within a step, and from signal handlers: the right answer or a typed error, never a wrong one."""

import gc
import os
import signal
import threading

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.engine.engine import Engine
from realizar.errors import RealizarError, ReentryError
from realizar.params import EngineParams
from tests.clocks import wait_until
from tests.engine.fake import FakeModel
from tests.parity.cases import FIXTURES

LLAMA = FIXTURES / "llama/model-q4_1.gguf"
PROMPTS = ["Once upon a time", "Hello", "def f(x):"]
N_SIGNALS = 60
needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")


def greedy(*samplers, n=24):
    named = {"samplers": [*samplers, "temperature"]} if samplers else {}
    return SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True, **named)


@pytest.fixture
def llm():
    with LLM(LLAMA, n_threads=1, n_ctx=128) as llm:
        yield llm


@pytest.fixture(scope="module")
def expected():
    with LLM(LLAMA, n_threads=1, n_ctx=128) as llm:
        return [completion.text for completion in llm.generate(PROMPTS, greedy())]


def texts(llm):
    return [completion.text for completion in llm.generate(PROMPTS, greedy())]


class Asks:
    """A sampler that asks something of the engine in the midst of its step, once."""

    def __init__(self, ask):
        self.ask, self.found = ask, []

    def apply(self, candidates, history):
        if not self.found:
            self.found.append(None)
            try:
                self.found[0] = self.ask()
            except Exception as error:
                self.found[0] = error


CALLS = {
    "generate": lambda llm: llm.generate("Hello", greedy(n=2)),
    "step": lambda llm: llm.engine.step(),
    "stream": lambda llm: list(llm.stream("Hello", greedy(n=2))),
    "embed": lambda llm: llm.embed("Hello"),
    "logits": lambda llm: llm.logits([1, 2]),
    "score": lambda llm: llm.score("Hello", " you"),
}


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_sampler_that_asks_its_own_engine(llm, expected, name, in_thread):
    sampler, found = Asks(lambda: CALLS[name](llm)), []

    def ask():
        found.extend(completion.text for completion in llm.generate(PROMPTS, greedy(sampler)))

    if in_thread:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    else:
        ask()
    assert found == expected
    assert isinstance(sampler.found[0], ReentryError)
    assert "from within one of its steps" in str(sampler.found[0])
    assert texts(llm) == expected


def test_a_sampler_that_asks_another_engine(llm, expected):
    with LLM(LLAMA, n_threads=1, n_ctx=128) as other:
        sampler = Asks(lambda: texts(other))
        assert [c.text for c in llm.generate(PROMPTS, greedy(sampler))] == expected
    assert sampler.found == [expected]


def test_two_engines_whose_samplers_ask_each_other(llm, expected):
    with LLM(LLAMA, n_threads=1, n_ctx=128) as other:
        inner = Asks(lambda: texts(llm))
        outer = Asks(lambda: [c.text for c in other.generate(PROMPTS, greedy(inner))])
        assert [c.text for c in llm.generate(PROMPTS, greedy(outer))] == expected
    assert outer.found == [expected]
    assert isinstance(inner.found[0], ReentryError)


def test_a_sampler_that_closes_its_engine():
    llm = LLM(LLAMA, n_threads=1, n_ctx=128)
    sampler = Asks(llm.close)
    with pytest.raises(RealizarError, match="closed before the request was done"):
        llm.generate(PROMPTS, greedy(sampler))
    assert sampler.found == [None]
    with pytest.raises(RealizarError, match="this LLM is closed"):
        llm.generate("Hello")


def test_a_finalizer_that_asks_in_a_step(llm, expected):
    found = []

    class Dies:
        def __del__(self):
            try:
                found.append(texts(llm))
            except RealizarError as error:
                found.append(error)

    def drop():
        cycle = [Dies()]
        cycle.append(cycle)
        del cycle
        gc.collect()

    assert [c.text for c in llm.generate(PROMPTS, greedy(Asks(drop)))] == expected
    assert isinstance(found[0], ReentryError)
    drop()
    assert found[1] == expected


def signals(handled, stop):
    """A thread that sends this process signals, each when the one before was handled."""

    def send():
        while not stop.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            handled.acquire()

    return threading.Thread(target=send)


def end(thread):
    """Wait for a thread; the last signal may have to be handled meanwhile."""
    wait_until(lambda: not thread.is_alive())


@pytest.fixture
def handler():
    """Sets the handler of a signal; the one before comes back."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda function: signal.signal(signal.SIGUSR1, function)
    signal.signal(signal.SIGUSR1, before)


@needs_signals
@pytest.mark.parametrize("name", ["generate", "stream", "embed"])
def test_a_signal_handler_that_asks(llm, expected, handler, name):
    """At commit 0bc8e36 69 of 100 outer answers were wrong, without an error."""
    vectors = llm.embed(PROMPTS)
    nested, handled, stop = [], threading.Semaphore(0), threading.Event()

    def handle(number, frame):
        if name == "generate":
            nested.append(texts(llm) == expected)
        elif name == "stream":
            nested.append(["".join(llm.stream(p, greedy())) for p in PROMPTS] == expected)
        else:
            nested.append(np.array_equal(llm.embed(PROMPTS), vectors))
        handled.release()

    handler(handle)
    sender, outer = signals(handled, stop), []
    sender.start()
    try:
        while len(nested) < N_SIGNALS:
            outer.append(texts(llm) == expected)
            outer.append("".join(llm.stream(PROMPTS[1], greedy())) == expected[1])
            outer.append(np.array_equal(llm.embed(PROMPTS), vectors))
    finally:
        stop.set()
        end(sender)
    assert all(nested)
    assert len(outer) > 3
    assert all(outer)


@needs_signals
@pytest.mark.no_cover  # an exception raised within coverage's tracer leaves its lock held, and all threads hang
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_what_a_signal_handler_raises_reaches_the_main_thread_alone(llm, expected, handler, kind):
    caught, others, handled, stop, armed = [], [], threading.Semaphore(0), threading.Event(), []

    def handle(number, frame):
        handled.release()
        if armed:
            armed.clear()
            raise kind("by a signal")

    def ask():
        while not stop.is_set():
            try:
                others.append(texts(llm) == expected)
            except BaseException as error:
                others.append(error)

    handler(handle)
    thread, sender = threading.Thread(target=ask), signals(handled, stop)
    thread.start()
    sender.start()
    try:
        while len(caught) < 100:
            try:
                armed.append(True)
                others.append(texts(llm) == expected)
                armed.clear()
            except kind as error:
                caught.append(str(error))
    finally:
        stop.set()
        end(sender)
        end(thread)
    assert set(caught) == {"by a signal"}
    assert set(others) == {True}
    assert texts(llm) == expected
    assert llm.engine.scheduler.running == []


def test_where_no_thread_can_be_started_the_main_thread_steps_itself(llm, expected, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sampler = Asks(lambda: texts(llm))
    assert [c.text for c in llm.generate(PROMPTS, greedy(sampler))] == expected
    assert isinstance(sampler.found[0], ReentryError)
    assert texts(llm) == expected


def test_the_threads_end_with_the_engine():
    def own():
        return {thread for thread in threading.enumerate() if thread.name == "realizar-engine"}

    before = own()
    with LLM(LLAMA, n_threads=1, n_ctx=128) as llm:
        texts(llm)
        assert len(own() - before) == 1
    assert own() - before == set()
    llm = LLM(LLAMA, n_threads=1, n_ctx=128)
    texts(llm)
    (thread,) = own() - before
    del llm
    gc.collect()
    end(thread)


def test_who_steps_the_engine_waits_for_its_turn(llm, expected):
    """Beside threads that generate: at commit 0bc8e36 their answers were wrong."""
    found, is_over = [], threading.Event()

    def generate():
        for _ in range(5):
            found.append(texts(llm))

    def step():
        while not is_over.is_set():
            llm.engine.step()

    stepping = threading.Thread(target=step)
    threads = [threading.Thread(target=generate) for _ in range(2)]
    for thread in (stepping, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    is_over.set()
    stepping.join()
    assert found == [expected] * 10


def test_threads_begun_after_a_fork_end_too():
    """What a child of fork() does with the engine that it has inherited."""
    engine = Engine(FakeModel(), EngineParams(n_ctx=96, kv_type="f32", n_threads=2))
    engine.loop._after_fork()
    engine.complete([engine.generate([1, 2], greedy(n=2))])
    thread = engine.loop._thread
    assert thread.is_alive()
    del engine
    gc.collect()
    end(thread)
