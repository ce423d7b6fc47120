"""Log-probabilities of texts that are there: of a continuation, of a prompt; the prompt's text; a token taken back."""

import numpy as np
import pytest

from realizar.errors import ParameterError
from realizar.params import SamplingParams
from tests.engine.fake import FULL, N_VOCAB, PLANS, check_cache, continuation, expected
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def log_softmax(plan, tokens):
    """What each of them has behind the others: float64 [n - 1, N_VOCAB]."""
    x = np.array([expected(plan, tokens[: i + 1]) for i in range(len(tokens) - 1)], float)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def check_found(plan, tokens, found, n_top):
    """Hold the scores of the last tokens against the definition."""
    want = log_softmax(plan, tokens)[-len(found) :]
    assert [sampled.token_id for sampled in found] == tokens[-len(found) :]
    for sampled, row in zip(found, want, strict=True):
        best = np.lexsort((np.arange(N_VOCAB), -row))[:n_top]
        assert sampled.logprob == pytest.approx(row[sampled.token_id], abs=1e-6)
        assert [token for token, _ in sampled.top] == best.tolist()
        np.testing.assert_allclose([p for _, p in sampled.top], row[best], atol=1e-6)


@pytest.mark.parametrize("n_batch", [32, 7])
@pytest.mark.parametrize(("n_given", "n"), [(1, 2), (1, 80), (16, 17), (40, 43), (33, 97)])
def test_a_continuation(plan, n_batch, n_given, n):
    engine = engine_of(plan, n_batch=n_batch)
    alone = engine.score(PROMPT[:n_given], PROMPT[n_given:n], 3)
    other = engine.generate(PROMPT[:20], greedy(9))
    engine.wait(lambda: alone.is_over and other.is_over)
    score = alone.score()
    check_found(plan, PROMPT[:n], score.logprobs, 3)
    assert score.token_ids == PROMPT[n_given:n]
    assert score.logprob == pytest.approx(sum(sampled.logprob for sampled in score.logprobs))
    again = engine.score(PROMPT[:n_given], PROMPT[n_given:n], 3)
    engine.wait(lambda: again.is_over)
    assert again.score() == score  # to the bit, although the cache now holds the prompt
    check_cache(engine.cache, [])


def test_what_the_cache_holds_of_the_prompt_is_not_computed():
    engine = engine_of()
    for tail in ([3, 4], [5, 6, 7]):
        request = engine.score(PROMPT[:50], tail, 1)
        engine.wait(lambda request=request: request.is_over)
    assert request.seq.cache is engine.cache
    assert engine.model.program.steps[-1].seq_past.tolist() == [48]
    assert engine.model.program.steps[-1].n_tokens == 4  # 2 of the prompt, 2 of what is scored


def test_no_more_rows_than_a_step_has():
    engine = engine_of(n_batch=64, n_ctx=256)
    request = engine.score(PROMPT[:1], PROMPT * 2, 1)
    engine.wait(lambda: request.is_over)
    assert max(len(step.outputs) for step in engine.model.program.steps) == 64
    assert len(request.score().token_ids) == 200


def test_greedy_texts_say_so():
    engine = engine_of()
    text = continuation(FULL, PROMPT[:9], 5, 96)
    good, bad = engine.score(PROMPT[:9], text, 1), engine.score(PROMPT[:9], [*text[:-1], 31 - text[-1]], 1)
    engine.wait(lambda: good.is_over and bad.is_over)
    assert good.score().is_greedy
    assert not bad.score().is_greedy


@pytest.mark.parametrize(
    ("prompt", "tail", "n_top", "says"),
    [
        ([], [1], 1, "the prompt has no tokens"),
        ([1], [], 1, "the continuation has no tokens"),
        ([1], [N_VOCAB], 1, f"token id {N_VOCAB} does not exist"),
        ([1], 5, 1, "a continuation is text or a list"),
        ([1], [1], 0, "logprobs=0: must be an integer in"),
        ([1], [1], True, "logprobs=True"),
    ],
)
def test_what_cannot_be_scored(prompt, tail, n_top, says):
    with pytest.raises(ParameterError, match=says):
        engine_of().score(prompt, tail, n_top)


@pytest.mark.parametrize("n_batch", [32, 7])
@pytest.mark.parametrize("n", [1, 2, 33, 90])
def test_prompt_logprobs(plan, n_batch, n):
    engine = engine_of(plan, n_batch=n_batch)
    plain, first, again = (
        finish(engine, engine.generate(PROMPT[:n], greedy(6, prompt_logprobs=k)))[0] for k in (None, 2, 2)
    )
    assert plain.prompt_logprobs is None
    assert (first.token_ids, first.text) == (plain.token_ids, plain.text)
    assert first.prompt_logprobs[0] is None
    assert first.prompt_logprobs == again.prompt_logprobs
    check_found(plan, PROMPT[:n], first.prompt_logprobs[1:], 2) if n > 1 else None
    assert again.timings.n_cached == 0
    check_cache(engine.cache, [])


def test_prompt_logprobs_beside_a_function_of_the_batch():
    """It sees the rows that a token is chosen from, and no others."""
    seen = []

    def look(logits, histories):
        assert len(logits) == len(histories)
        seen.extend(len(history) for history in histories)

    engine = engine_of(n_batch=8)
    params = greedy(3, prompt_logprobs=0, samplers=(look, "temperature"), ignore_eos=True)
    one, two = engine.generate(PROMPT[:20], params), engine.generate(PROMPT[:9], params)
    for completion, n in zip(finish(engine, one, two), (20, 9), strict=True):
        check_found(FULL, PROMPT[:n], completion.prompt_logprobs[1:], 0)
    assert sorted(seen) == [9, 10, 11, 20, 21, 22]


def test_several_texts_share_the_prompts_logprobs():
    engine = engine_of()
    params = SamplingParams(n=3, seed=1, max_tokens=5, prompt_logprobs=1, ignore_eos=True)
    plain = SamplingParams(n=3, seed=1, max_tokens=5, ignore_eos=True)
    (read,), (blind,) = (finish(engine, engine.generate(PROMPT[:30], p)) for p in (params, plain))
    assert [output.token_ids for output in read.outputs] == [output.token_ids for output in blind.outputs]
    check_found(FULL, PROMPT[:30], read.prompt_logprobs[1:], 1)


def test_echo_begins_with_the_prompt():
    engine = engine_of()
    plain, echo = finish(engine, *(engine.generate(PROMPT[:9], greedy(5, echo=on)) for on in (False, True)))
    assert echo.text == "abcdefghi" + plain.text
    assert echo.token_ids == plain.token_ids
    request = engine.generate(PROMPT[:9], greedy(5, echo=True, stop="d"))
    assert request.answers[0].output.text == "abcdefghi"  # at once, and no stop string


@pytest.mark.parametrize("params", [{"echo": True}, {"prompt_logprobs": 0}, {"token_healing": True}])
def test_beams_go_by_no_prompt(params):
    with pytest.raises(ParameterError, match=f"{next(iter(params))}: beams have it not"):
        engine_of().beam_search(PROMPT[:9], SamplingParams(n_beams=2, **params))


def test_guidance_changes_no_prompt():
    with pytest.raises(ParameterError, match="prompt_logprobs and cfg_scale"):
        engine_of().generate(PROMPT[:9], SamplingParams(cfg_scale=2.0, prompt_logprobs=0))
