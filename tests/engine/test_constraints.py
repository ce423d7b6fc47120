"""Requests with constraints: their texts, how they end, and that a fault ends one request alone."""

import pkgutil
import re
import threading

import pytest

from realizar.engine.engine import Engine
from realizar.errors import GrammarError, RealizarError
from realizar.params import EngineParams, SamplingParams
from realizar.sampling.grammar import factory, worker
from realizar.sampling.grammar.constraint import Constraint
from realizar.tokenizer import Tokenizer
from tests.clocks import CpuClocks
from tests.engine.fake import FULL, N_VOCAB, FakeModel
from tests.engine.speculation.oracle import FlatCost

# Token i is the letter chr(96 + i), as FakeTokenizer has it; 0 ends a text. The others are never meant.
TOKENS = ["<eos>", *"abcdefghijklmnopqrstuvwxyz", *(f"<{i}>" for i in range(27, N_VOCAB - 1)), "<unk>"]


def tokenizer():
    return Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, *[1] * 26, *[3] * 4, 2],
        "tokenizer.ggml.scores": [0.0] * N_VOCAB,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.unknown_token_id": N_VOCAB - 1,
        "tokenizer.ggml.add_space_prefix": False,
    })  # fmt: skip


def make_engine(**params):
    model = FakeModel(FULL)
    model.tokenizer = tokenizer()
    return Engine(model, EngineParams(n_ctx=96, n_seqs=8, n_batch=32, kv_type="f32", n_threads=2, **params))


@pytest.fixture
def engine():
    return make_engine()


def run(engine, *params, prompt=(3, 4)):
    """Hand in a prompt with each of these params, and return the requests when all are over."""
    requests = [engine.generate(list(prompt), p) for p in params]
    engine.wait(lambda: all(request.is_over for request in requests))
    return requests


def greedy(**params):
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 20, **params})


@pytest.mark.parametrize(
    ("constraint", "pattern"),
    [
        ({"grammar": 'root ::= "a"+ "b" [c-e]{2}'}, "a+b[c-e]{2}"),
        ({"regex": "x(yz|zy)+q"}, "x(yz|zy)+q"),
        ({"choice": ["yes", "no", "maybe"]}, "yes|no|maybe"),
        ({"json_schema": {"enum": [True, None]}}, "true|null"),
        ({"grammar": '%llguidance {}\nstart: "ab" /[xyz]+/ "c"'}, "ab[xyz]+c"),
    ],
)
def test_texts_keep_to_their_constraint(engine, constraint, pattern):
    everybody = [SamplingParams(seed=seed, max_tokens=60, **constraint) for seed in range(6)] + [greedy(**constraint)]
    for request in run(engine, *everybody):
        completion = request.completion()
        assert completion.finish_reason == "length" or re.fullmatch(pattern, completion.text), completion
    assert any(request.completion().finish_reason in ("eos", "grammar") for request in run(engine, *everybody))


def test_a_text_that_nothing_can_follow_ends_at_once(engine):
    (request,) = run(engine, greedy(regex="abc"))
    completion = request.completion()
    assert (completion.text, completion.token_ids) == ("abc", [1, 2, 3])
    assert (completion.finish_reason, completion.stop_reason) == ("grammar", None)


def test_the_end_of_a_text_is_allowed_where_it_is_whole(engine):
    (request,) = run(engine, greedy(regex="ab*", logit_bias={0: 100.0}))
    assert (request.completion().text, request.completion().stop_reason) == ("a", 0)


def test_stop_strings_min_tokens_and_max_tokens_go_with_it(engine):
    stop, least, most = run(
        engine, greedy(regex="abc*", stop="cc"), greedy(regex="a+", min_tokens=5, logit_bias={0: 100.0}),
        greedy(regex="a{9}", max_tokens=4),
    )  # fmt: skip
    assert (stop.completion().text, stop.completion().stop_reason) in (("ab", "cc"), ("ab", 0), ("abc", 0))
    assert least.completion().text == "aaaaa"
    assert (most.completion().text, most.completion().finish_reason) == ("aaaa", "length")


def test_rules_that_leave_nothing_of_it_end_that_request_alone(engine):
    bad, good = run(engine, greedy(regex="a", allowed_token_ids=(2,)), greedy(regex="a"))
    assert isinstance(bad.error, RealizarError)
    assert "removes all" in str(bad.error)
    assert good.completion().text == "a"


@pytest.mark.parametrize(
    "constraint", [{"grammar": "root ::= x"}, {"regex": "("}, {"json_schema": {"not": {}}}, {"grammar": "%llguidance"}]
)
def test_what_is_refused_is_refused_when_it_is_handed_in(engine, constraint):
    with pytest.raises(GrammarError, match=next(iter(constraint))):
        engine.generate([3, 4], greedy(**constraint))
    assert not engine.scheduler.waiting


def test_company_makes_no_difference(engine):
    several = [SamplingParams(seed=7, max_tokens=30, regex="[a-f]+x"), SamplingParams(seed=8, max_tokens=30)]
    alone = [run(engine, params)[0].completion().token_ids for params in several]
    together = [request.completion().token_ids for request in run(engine, *several, *several)]
    assert together == [*alone, *alone]


def test_several_answers_keep_to_it_each(engine):
    (request,) = run(engine, SamplingParams(seed=3, max_tokens=40, n=5, regex="[a-d]{2,6}x"))
    first = request.completion()
    texts = [completion.text for completion in (first, *first.others)]
    assert len(set(texts)) > 1
    assert [text for text in texts if not re.fullmatch("[a-d]{2,6}x", text)] == []


def test_beams_keep_to_it_each(engine):
    params = SamplingParams(temperature=1.0, max_tokens=12, n_beams=4, n=4, regex="[a-d]{2,4}x?")
    request = engine.beam_search([3, 4], params)
    engine.wait(lambda: request.is_over)
    assert request.error is None
    best = request.completion()
    texts = [completion.text for completion in (best, *best.others)]
    assert len(set(texts)) == 4
    assert [text for text in texts if not re.fullmatch("[a-d]{2,4}x?", text)] == []


@pytest.mark.parametrize("regex", ["(abcab)+x", "abcabcabcabc"])
def test_drafts_make_no_difference(engine, regex):
    prompt, drafting = [1, 2, 3] * 6, make_engine(speculate="ngram", n_draft=7)
    drafting.speculator.cost = FlatCost(32)
    for params in (greedy(regex=regex, max_tokens=40), SamplingParams(seed=5, regex=regex, max_tokens=40)):
        (plain,), (drafted,) = (run(e, params, prompt=prompt) for e in (engine, drafting))
        found, expected = drafted.completion(), plain.completion()
        assert found.timings.n_drafted > 0
        assert (found.token_ids, found.finish_reason) == (expected.token_ids, expected.finish_reason)


@pytest.fixture
def ended():
    """What a reading of a grammar waits for that does not end within its request's time."""
    event = threading.Event()
    yield event
    event.set()


def hold(monkeypatch, place, event, begun):
    """Let a part of the reading of grammars begin and then wait for an event."""
    function = pkgutil.resolve_name(place)

    def waits(*args, **kwargs):
        begun.set()
        event.wait()
        return function(*args, **kwargs)

    monkeypatch.setattr(place.replace(":", "."), waits)


PLACES = {
    "gbnf:parse": {"grammar": 'root ::= "abc"'},
    "factory:from_schema": {"json_schema": {"type": "boolean"}},
    "factory:from_regex": {"regex": "[a-c]+"},
    "factory:vocabulary": {"choice": ["abc"]},
    "compiled:_matcher": {"regex": "[a-c]+"},
}


@pytest.mark.parametrize("kind", [{}, {"n": 3, "temperature": 1.0}, {"n_beams": 2}], ids=["one", "several", "beams"])
@pytest.mark.parametrize("place", PLACES)
def test_max_time_ends_a_request_whose_grammar_is_still_read(engine, monkeypatch, ended, place, kind):
    """At commit dc13388 what Python does was not interrupted, and what llguidance does became a GrammarError."""
    begun = threading.Event()
    with monkeypatch.context() as patch:
        hold(patch, f"realizar.sampling.grammar.{place}", ended, begun)
        submit = engine.beam_search if "n_beams" in kind else engine.generate
        max_time = 0.01
        while not begun.is_set():  # a slow machine may need longer to come to that place
            params = greedy(**{**PLACES[place], **kind}, max_time=max_time)
            late, other = submit([3, 4], params), engine.generate([3, 4], greedy())
            engine.complete([late, other])
            max_time *= 2
    assert [(c.text, c.token_ids, c.finish_reason) for c in late.completion().outputs] == (
        [("", [], "time")] * (3 if "n" in kind else 1)
    )
    assert other.completion().token_ids
    ended.set()
    (again,) = run(engine, greedy(**PLACES[place], max_time=1e9))
    assert again.completion().finish_reason in ("grammar", "eos", "length")
    assert again.error is None


def test_the_tokens_that_a_late_request_prepared_are_kept(engine, monkeypatch, ended):
    begun, n_made = threading.Event(), []
    hold(monkeypatch, "realizar.sampling.grammar.factory:vocabulary", ended, begun)
    waits = factory.vocabulary
    monkeypatch.setattr(factory, "vocabulary", lambda tokenizer: n_made.append(1) or waits(tokenizer))
    run(engine, greedy(regex="a+", max_time=0.01))
    begun.wait()  # the worker goes on alone
    ended.set()
    run(engine, greedy(regex="b+"), greedy(regex="c+"))
    assert n_made == [1]


def test_a_grammar_is_refused_whatever_time_there_is(engine):
    for grammar, says in ({"regex": "a("}, "regex"), ({"json_schema": {"not": {}}}, "'not' cannot be enforced"):
        with pytest.raises(GrammarError, match=says):
            engine.generate([3], greedy(**grammar, max_time=1e9))


def test_a_mask_that_takes_too_long_ends_that_request_alone(engine, monkeypatch):
    clocks, ended = CpuClocks(), threading.Event()
    monkeypatch.setattr(worker, "_cpu_clock", clocks)

    class Stuck:
        """A matcher that has computed for more than its 50 ms and gives nothing."""

        def compute_bitmask(self):
            clocks.spend(0.06)
            ended.wait()

        def consume_token(self, token):
            return True

        def is_stopped(self):
            return False

    free = run(engine, greedy())[0].completion().token_ids
    slow, other = engine.generate([3, 4], greedy(regex="[a-z]+")), engine.generate([3, 4], greedy())
    (live,) = (s for s in slow.answers[0]._sampler._live if isinstance(s, Constraint))
    monkeypatch.setattr(live, "_matcher", Stuck())
    engine.wait(lambda: slow.is_over and other.is_over)
    assert isinstance(slow.error, GrammarError)
    assert str(slow.error) == "regex: needs more than 50 ms for one step; make it less ambiguous, or smaller"
    assert other.completion().token_ids == free
    ended.set()


def test_a_fault_inside_ends_that_request_alone(engine, monkeypatch):
    bad, good = engine.generate([3, 4], greedy(regex="[a-z]+")), engine.generate([3, 4], greedy(regex="abc"))
    (live,) = (s for s in bad.answers[0]._sampler._live if isinstance(s, Constraint))

    class Panic(BaseException):
        pass

    class Broken:
        def consume_token(self, token):
            raise Panic("thread panicked")

        def compute_bitmask(self):
            raise Panic("again")

    monkeypatch.setattr(live, "_matcher", Broken())
    engine.wait(lambda: bad.is_over and good.is_over)
    assert "regex: failed inside llguidance: Panic: thread panicked" in str(bad.error)
    assert good.completion().text == "abc"
