"""Numbers that are none, prompts that are no lists, more threads than can be of use, memory and time that run out."""

from pathlib import Path

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.backends.cpu import threads
from realizar.backends.cpu.backend import CPUBackend
from realizar.engine import engine as engine_module
from realizar.engine import request as requests
from realizar.engine import submissions
from realizar.engine.engine import Engine
from realizar.errors import OutOfMemoryError, ParameterError, RealizarError, memory_for
from realizar.gguf import GGUFFile, GGUFWriter
from realizar.params import EngineParams
from realizar.params.per_prompt import as_prompts
from tests.clocks import Clock
from tests.engine.fake import FULL, FakeModel, continuation
from tests.parity.cases import FIXTURES

LLAMA = FIXTURES / "llama/model-q4_1.gguf"
PROMPT = [1 + i % 29 for i in range(100)]


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    """A file whose last norm holds a NaN: so do all states and logits."""
    path = tmp_path_factory.mktemp("nan") / "nan.gguf"
    writer = GGUFWriter(path)
    with GGUFFile(LLAMA) as file:
        for key, value in file.metadata.items():
            writer.add(key, value)
        for info in file.tensors.values():
            data = file.data(info.name)
            if info.name == "output_norm.weight":
                data = data.copy()
                data.view(np.float32)[0, 3] = np.nan
            writer.add_tensor(info.name, data, info.shape, info.type)
        writer.write()
    return path


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda llm: llm.generate([1, 2, 3]), "logit 0 is nan"),
        (lambda llm: llm.score([1, 2], [3]), "logit 0 is nan"),
        (lambda llm: llm.logits([1, 2, 3]), "logit 0 after token 0 is nan"),
        (lambda llm: llm.embed([1, 2, 3]), "state 3 after token 0 is nan"),
        (lambda llm: llm.embed([1, 2, 3], pooling=None), "state 3 after token 0 is nan"),
    ],
    ids=["generate", "score", "logits", "embed", "states"],
)
def test_what_is_no_number_is_an_error(broken, ask, says):
    with (
        LLM(broken, n_threads=1, n_ctx=64) as llm,
        pytest.raises(RealizarError, match=f"{says}.*the file may be damaged"),
    ):
        ask(llm)


@pytest.mark.parametrize(("value", "ok"), [(np.nan, False), (np.inf, False), (-np.inf, True)])
def test_logits_that_exclude_a_token_are_right(value, ok):
    """-inf is a logit that some models give; a whole row of them is none."""
    engine = Engine(FakeModel(FULL), EngineParams(n_ctx=96, n_seqs=2, n_batch=32, kv_type="f32", n_threads=2))
    run = engine.model.program.run

    def changed(batch, outputs=None):
        found = run(batch, outputs)
        found["logits"][-1, 5] = value
        return found

    engine.model.program.run = changed
    request = engine.logits(PROMPT[:4])
    if ok:
        engine.complete([request])
        assert request.logits[3, 5] == value
    else:
        with pytest.raises(RealizarError, match=f"logit 5 after token 3 is {value}"):
            engine.complete([request])


NO_PROMPTS = [{"a": 1}, {1: 2}, {1, 2}, frozenset(["a"]), b"ab", bytearray(b"ab"), memoryview(b"ab"), {}, set()]


@pytest.mark.parametrize("thing", NO_PROMPTS, ids=lambda thing: f"{type(thing).__name__}-{len(thing)}")
def test_what_is_no_list_is_no_prompt(thing):
    assert len(as_prompts(thing)) == 1
    assert as_prompts(thing)[0] is thing
    with LLM(LLAMA, n_threads=1, n_ctx=64) as llm:
        asks = [
            lambda: llm.generate(thing), lambda: llm.generate(["a", thing]), lambda: llm.stream(thing),
            lambda: llm.embed(thing), lambda: llm.embed(["a", thing]), lambda: llm.logits(thing),
            lambda: llm.score(thing, "a"), lambda: llm.score("a", thing), lambda: llm.score("a", ["b", thing]),
        ]  # fmt: skip
        for ask in asks:
            with pytest.raises(
                ParameterError, match=r"is text or a list of token ids, not|a dict (is not supported|must have)"
            ):
                ask()
        assert llm.engine.scheduler.waiting == type(llm.engine.scheduler.waiting)()


def test_prompts_that_come_one_by_one():
    """A generator has an order, so it is a list of prompts like any other."""
    params = SamplingParams(temperature=0.0, max_tokens=3)
    with LLM(LLAMA, n_threads=1, n_ctx=64) as llm:
        want = [c.token_ids for c in llm.generate(["a", "b"], params)]
        assert [c.token_ids for c in llm.generate((p for p in "ab"), params)] == want
        assert [c.token_ids for c in llm.generate(("a", "b"), params)] == want


def test_more_threads_than_can_be_of_use(monkeypatch):
    monkeypatch.setattr(threads, "affinity", lambda: {0, 1})
    for n in (1, 4, 16):
        assert threads.bounded_threads(n) == n
    with pytest.warns(
        RuntimeWarning, match="n_threads=1024: this process may run on 2 CPUs, so only 16 threads are started"
    ):
        llm = LLM(LLAMA, n_threads=1024, n_ctx=64)
    with llm:
        assert llm.engine.runner.n_threads == 16
    monkeypatch.setattr(threads, "affinity", lambda: set(range(64)))
    assert threads.bounded_threads(256) == 256


def test_memory_that_runs_out_in_a_step():
    engine = Engine(FakeModel(FULL), EngineParams(n_ctx=96, n_seqs=2, n_batch=32, kv_type="f32", n_threads=2))
    request = engine.generate(PROMPT[:9], SamplingParams(temperature=0.0, max_tokens=5, ignore_eos=True))
    engine.model.program.fail = MemoryError("Unable to allocate 5 MiB")
    with pytest.raises(OutOfMemoryError, match=r"out of memory \(Unable to allocate 5 MiB\); .*32 tokens needs 7 MiB"):
        engine.wait(lambda: request.is_over)
    engine.model.program.fail = None
    engine.wait(lambda: request.is_over)
    assert request.answers[0].token_ids == continuation(FULL, PROMPT[:9], 5, 96)


@pytest.mark.parametrize("what", ["load", "engine"])
def test_memory_that_runs_out_while_a_model_is_loaded(monkeypatch, what):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("realizar.loaded.Engine" if what == "engine" else "realizar.model.record", fail)
    with pytest.raises(OutOfMemoryError, match=r"loading .*requested were n_seqs=3 of n_ctx=64 tokens"):
        LLM(LLAMA, n_ctx=64, n_seqs=3)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("realizar.tokenizer.Tokenizer.encode", "tokenizing: out of memory; the text has 5 characters"),
        ("realizar.engine.intake.Intake.generation", "submitting a request: out of memory; the cache has"),
        ("realizar.engine.loop.EngineLoop.wait", "waiting for a request: out of memory; the cache has"),
    ],
)
def test_memory_that_runs_out_around_the_steps(monkeypatch, what, message):
    def fail(*args, **kwargs):
        raise MemoryError

    with LLM(LLAMA, n_ctx=64) as llm:
        monkeypatch.setattr(what, fail)
        with pytest.raises(OutOfMemoryError, match=message):
            llm.generate("Hello", SamplingParams(max_tokens=1))


def test_an_engine_that_cannot_be_made_closes_its_backend(monkeypatch):
    closed = []
    monkeypatch.setattr(CPUBackend, "close", lambda self: closed.append(self))
    monkeypatch.setattr(engine_module, "make_speculator", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        LLM(LLAMA, n_ctx=64)
    assert len(closed) == 1


def test_memory_that_runs_out_while_an_error_is_described():
    def fail():
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match=r"^loading: out of memory$"), memory_for("loading", fail):
        fail()


def test_max_time_counts_from_when_a_request_is_asked_for(monkeypatch):
    """Intake takes 3 of the 5 seconds."""
    engine = Engine(FakeModel(FULL), EngineParams(n_ctx=96, n_seqs=2, n_batch=32, kv_type="f32", n_threads=2))
    clock, make = Clock(), engine._intake.generation
    for module in (requests, submissions):
        monkeypatch.setattr(module, "time", clock)

    def slow(*args):
        clock.now += 3.0
        return make(*args)

    monkeypatch.setattr(engine._intake, "generation", slow)
    assert engine.generate(PROMPT[:9], SamplingParams(max_time=5.0)).deadline == 5.0
