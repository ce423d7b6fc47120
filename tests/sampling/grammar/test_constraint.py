"""Constraints: masks, the end of the text, and time limits."""

import gc
import threading

import pytest

from realizar.errors import GrammarError
from realizar.params import SamplingParams
from realizar.sampling.grammar import OutOfTimeError, compiled, worker
from realizar.sampling.grammar.compiled import Compiled
from realizar.sampling.grammar.factory import ConstraintFactory
from realizar.sampling.grammar.worker import N_THREADS, Workers
from tests.clocks import Clock, CpuClocks, wait_until
from tests.sampling.grammar.texts import END, FACTORY, WORDS, allowed, byte_tokenizer


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "realizar-grammar"]


def test_masks_have_a_bit_per_token():
    constraint = FACTORY.regex("ab?")
    mask = constraint.mask()
    assert (mask.dtype, mask.shape) == ("uint32", (-(-(258 + len(WORDS)) // 32),))
    constraint.advance(ord("a"))
    assert allowed(constraint) == {ord("b"), END}
    assert not constraint.is_over
    constraint.advance(ord("b"))
    assert constraint.is_over
    assert allowed(constraint) == {END}


def test_a_token_that_is_not_allowed_ends_the_constraint():
    constraint = FACTORY.regex("ab")
    constraint.advance(ord("b"))
    for call in (lambda: constraint.is_over, constraint.mask, lambda: constraint.advance(ord("a"))):
        with pytest.raises(GrammarError, match="token 98 is not allowed"):
            call()


@pytest.fixture
def clocks(monkeypatch):
    """Fake CPU time of threads, advanced by name."""
    clocks = CpuClocks()
    monkeypatch.setattr(worker, "_cpu_clock", clocks)
    return clocks


@pytest.fixture
def ended():
    """An event for jobs that must not end during their test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_step_that_takes_too_long_ends_that_constraint_alone(clocks, ended, monkeypatch):
    class Endless:
        def is_error(self):
            return False

        def compute_bitmask(self):
            clocks.spend(2e-3)
            ended.wait()

    other = FACTORY.regex("a+")
    monkeypatch.setattr(compiled, "_matcher", lambda vocabulary, grammar: Endless())
    with pytest.raises(GrammarError, match="more than 1 ms for one step"):
        Compiled.read(lambda: (None, "start: /a+/"), 266, step_s=1e-3)
    other.advance(ord("a"))
    assert allowed(other) == {ord("a"), END}


def test_the_cpu_time_of_a_job_is_limited(clocks, ended):
    job = Workers().submit(lambda: clocks.spend(0.03) or ended.wait())
    with pytest.raises(TimeoutError):
        job.result(0.02)
    assert Workers().submit(lambda: clocks.spend(0.03) or 1).result(0.04) == 1


@pytest.mark.parametrize(("n_looks", "ends"), [(90, True), (110, False)])
def test_the_wall_clock_time_of_a_sleeping_job_is_limited(n_looks, ends, clocks, ended, monkeypatch):
    """The limit is a hundred times the CPU time limit; the fake clock advances whenever it is read."""

    class Watch(Clock):
        def monotonic(self):
            if self.now >= n_looks * self.tick:
                ended.set()
                wait_until(lambda: job._is_done)
            return super().monotonic()

    monkeypatch.setattr(worker, "WALL_LIMIT_FACTOR", 100)
    monkeypatch.setattr(worker, "time", Watch(tick=1e-4))
    job = Workers().submit(lambda: ended.wait() and 2)
    if ends:
        assert job.result(1e-4) == 2
        return
    with pytest.raises(TimeoutError):
        job.result(1e-4)


def test_the_error_of_a_job_is_raised_by_result():
    class Panic(BaseException):
        pass

    def panic():
        raise Panic("inside")

    worker = Workers()
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(5.0)
    with pytest.raises(RuntimeError, match="Panic: inside"):
        worker.submit(panic).result(5.0)
    assert worker.submit(lambda: 3).result(5.0) == 3


def test_threads_end_with_their_constraints():
    before = set(threads())
    factory = ConstraintFactory(byte_tokenizer())
    constraints = [factory.choice(["a", "b"]) for _ in range(20)]
    for constraint in constraints:
        constraint.advance(ord("a"))
    assert [constraint.is_over for constraint in constraints] == [True] * 20
    own = [thread for thread in threads() if thread not in before and thread.is_alive()]
    assert N_THREADS <= len(own) <= N_THREADS + 20  # the threads that compiled the grammars may still be ending
    del constraint, constraints, factory
    gc.collect()
    wait_until(lambda: not any(thread.is_alive() for thread in own))


def test_a_thread_that_was_abandoned_is_replaced(clocks, ended):
    workers = Workers(n_threads=1)
    workers.start()
    (first,) = workers._threads
    stuck, queued = workers.submit(lambda: clocks.spend(1.0) or ended.wait()), workers.submit(lambda: "queued")
    with pytest.raises(TimeoutError):
        stuck.result(0.5)
    stuck.abandon()
    assert workers.submit(lambda: "after").result(5.0) == "after"
    assert queued.result(5.0) == "queued"
    ended.set()
    wait_until(lambda: not first.is_alive())


def test_an_error_if_no_thread_can_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(GrammarError, match="cannot start a thread for a grammar"):
        Workers().start()
    with pytest.raises(GrammarError, match="cannot start a thread for a grammar"):
        ConstraintFactory(byte_tokenizer()).regex("a+")


def test_max_time_limits_the_compilation_of_a_grammar(ended, monkeypatch):
    """The compilation has a limit of 5 s of CPU time itself, which may be more than max_time."""
    monkeypatch.setattr(compiled, "_matcher", lambda *_: ended.wait())
    with pytest.raises(OutOfTimeError, match="regex: max_time ended before it was compiled"):
        FACTORY.from_params(SamplingParams(regex="a+", max_time=0.01))
