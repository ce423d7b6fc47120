"""n answers to one prompt: each as it would come alone, the prompt computed and kept once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.errors import ParameterError
from realizar.params import SamplingParams
from tests.engine.fake import FULL, PLANS, check_cache
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def draws(n_tokens=12, **params):
    return SamplingParams(**{"temperature": 1.0, "seed": 7, "max_tokens": n_tokens, "ignore_eos": True, **params})


def texts(completion):
    return [output.token_ids for output in completion.outputs]


def test_the_first_answer_is_that_of_one_alone(plan):
    engine = engine_of(plan, n_seqs=4)
    (alone,) = finish(engine, engine.generate(PROMPT[:37], draws()))
    (several,) = finish(engine, engine.generate(PROMPT[:37], draws(n=4)))
    assert several.token_ids == alone.token_ids
    assert several.outputs[0] is several
    assert len({tuple(ids) for ids in texts(several)}) == 4
    check_cache(engine.cache, [])


def test_the_answers_depend_on_nothing_else(plan):
    engine = engine_of(plan, n_seqs=8, n_batch=64)
    (alone,) = finish(engine, engine.generate(PROMPT[:37], draws(n=4)))
    others = [engine.generate(PROMPT[:n], greedy(9)) for n in (20, 38)]
    beside, *_ = finish(engine, engine.generate(PROMPT[:37], draws(n=4)), *others)
    small = engine_of(plan, n_seqs=4, n_batch=7)
    (cut,) = finish(small, small.generate(PROMPT[:37], draws(n=4)))
    assert texts(alone) == texts(beside) == texts(cut)
    assert {output.timings.n_prompt for output in cut.outputs} == {37}


def test_each_answer_could_have_come_from_its_own_request(plan):
    """What an answer drew, a prompt with the beginning of that answer goes on with, since draws go by position."""
    engine = engine_of(plan, n_seqs=4)
    (several,) = finish(engine, engine.generate(PROMPT[:21], draws(n=3)))
    for number, output in enumerate(several.outputs):
        request = engine.generate([*PROMPT[:21], *output.token_ids[:5]], draws(7))
        request.answers[0]._number = number
        assert finish(engine, request)[0].token_ids == output.token_ids[5:]


def test_a_text_that_has_ended_holds_nothing(plan):
    engine, n_ended = engine_of(plan, n_seqs=4), set()
    request = engine.generate(PROMPT[:20], draws(40, n=4, ignore_eos=False))
    while not request.is_over:
        engine.step()
        going_on = [answer.seq for answer in request.answers if answer.end is None]
        check_cache(engine.cache, dict.fromkeys(going_on))
        n_ended.add(4 - len(going_on))
    assert len(n_ended) > 2


def test_the_prompt_is_computed_and_held_once():
    engine = engine_of(n_seqs=2, n_ctx=96)
    request = engine.generate(PROMPT[:64], draws(n=4, n_tokens=16))
    assert request.blocks_needed() == [4 + 4 * 1]
    engine.wait(lambda: len(request.answers[3].token_ids) == 2)
    tables = [seq.tables[0] for seq in request.seqs]
    assert all(table[:4] == tables[0][:4] for table in tables)
    assert len({table[4] for table in tables}) == 4
    finish(engine, request)
    assert sum(batch.n_tokens for batch in engine.model.program.steps) == 64 + 4 * 15
    check_cache(engine.cache, [])


def test_answers_end_one_by_one():
    engine = engine_of(n_seqs=4)
    (whole,) = finish(engine, engine.generate(PROMPT[:20], draws(n=3)))
    stop = whole.outputs[1].token_ids[4]
    (cut,) = finish(engine, engine.generate(PROMPT[:20], draws(n=3, stop_token_ids=(stop,))))
    for before, after in zip(whole.outputs, cut.outputs, strict=True):
        until = before.token_ids.index(stop) + 1 if stop in before.token_ids else 12
        assert after.token_ids == before.token_ids[:until]
    check_cache(engine.cache, [])


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_best_of_returns_the_best(penalty):
    engine = engine_of(n_seqs=8)
    asked = {"stop_token_ids": (3, 4, 5), "logprobs": 0, "length_penalty": penalty}
    (written,) = finish(engine, engine.generate(PROMPT[:20], draws(n=8, **asked)))
    (best,) = finish(engine, engine.generate(PROMPT[:20], draws(n=3, best_of=8, **asked)))

    def score(output):
        return sum(s.logprob for s in output.logprobs) / len(output.token_ids) ** penalty

    want = sorted(written.outputs, key=score, reverse=True)[:3]
    assert texts(best) == [output.token_ids for output in want]
    assert [output.score for output in best.outputs] == pytest.approx([score(output) for output in want])
    assert {output.score for output in written.outputs} == {None}
    (silent,) = finish(engine, engine.generate(PROMPT[:20], draws(n=3, best_of=8, **{**asked, "logprobs": None})))
    assert texts(silent) == texts(best)
    assert silent.logprobs is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 80), st.integers(1, 5), st.integers(1, 16)), min_size=1, max_size=8))
def test_whatever_fits_has_its_turn(asked):
    engine = engine_of(n_seqs=2, n_batch=8)
    requests = []
    for n_prompt, n, n_tokens in asked:
        try:
            requests.append(engine.generate(PROMPT[:n_prompt], draws(n_tokens, n=n)))
        except ParameterError as error:
            assert "cache blocks, and there are 12" in str(error)  # noqa: PT017
            assert n_prompt // 16 + n * 6 > 2 * 6
    for request, completion in zip(requests, finish(engine, *requests), strict=True):
        assert len(completion.outputs) == request.params.n
    check_cache(engine.cache, [])


def test_what_can_never_fit_is_an_error():
    engine = engine_of(n_seqs=2, n_batch=16)
    with pytest.raises(ParameterError, match="17 sequences at once, but the engine computes 16; ask for fewer"):
        engine.generate([1], draws(n=17))
    with pytest.raises(ParameterError, match="3 sequences of up to 96 tokens need 18 cache blocks, and there are 12"):
        engine.generate([1], draws(n=3, max_tokens=None))
    states = engine_of(PLANS["stateful"], n_seqs=2)
    with pytest.raises(ParameterError, match="3 sequences at once, but the engine computes 2"):
        states.generate([1], draws(n=3))
    assert not engine.scheduler.waiting


def test_cancelling_gives_all_back():
    engine = engine_of(FULL, n_seqs=4)
    request = engine.generate(PROMPT[:30], draws(n=4))
    engine.wait(lambda: len(request.answers[0].token_ids) == 3)
    request.cancel()
    (other,) = finish(engine, engine.generate(PROMPT[:9], greedy(2)))
    assert [output.finish_reason for output in request.completion().outputs] == ["cancelled"] * 4
    assert other.outputs == (other,)
    check_cache(engine.cache, [])


def test_params_that_make_no_sense():
    for bad in ({"n": 0}, {"n": 2, "best_of": 1}, {"n": 2, "temperature": 0.0}, {"best_of": True}, {"n": 2**70}):
        with pytest.raises(ParameterError, match=r"^(n|best_of)="):
            SamplingParams(**bad)
    with pytest.raises(ParameterError, match="length_penalty=11: must be a number in"):
        SamplingParams(length_penalty=11)


KINDS = {
    "drawn": {"temperature": 1.0},
    "four": {"n": 4},
    "best": {"n": 2, "best_of": 3},
    "beams": {"n_beams": 3, "n": 2},
    "groups": {"n_beams": 4, "n_beam_groups": 2, "diversity_penalty": 1.0},
    "guided": {"cfg_scale": 1.5, "negative_prompt": PROMPT[:25]},
    "guided beams": {"n_beams": 2, "cfg_scale": 2.0},
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(PLANS)),
    st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 60), st.integers(1, 20), st.integers(0, 40)),
        min_size=1,
        max_size=6,
    ),
)
def test_requests_of_all_kinds_end_side_by_side(name, asked):
    """None waits for ever or finds the cache full, each text is that of its request alone; some are cancelled."""
    small, large = engine_of(PLANS[name], n_seqs=4, n_batch=8), engine_of(PLANS[name], n_seqs=8, n_batch=64)
    requests = []
    for kind, n_prompt, n_tokens, until in asked:
        params = draws(n_tokens, **KINDS[kind])
        prompt = PROMPT[n_prompt % 7 :][:n_prompt]
        hand_in = small.beam_search if params.n_beams > 1 else small.generate
        requests.append((hand_in(prompt, params), prompt, params, until))
    for step in range(400):
        if all(request.is_over for request, *_ in requests):
            break
        small.step()
        for request, *_, until in requests:
            if step == until:
                request.cancel()
    for request, prompt, params, _ in requests:
        assert request.is_over
        assert request.error is None
        if not request.cancelled:
            (alone,) = finish(large, (large.beam_search if params.n_beams > 1 else large.generate)(prompt, params))
            assert texts(request.completion()) == texts(alone)
    small.step()
    check_cache(small.cache, [])
