"""Beam search in the engine: what transformers finds, and every text as its own sequence would have it."""

import json
from pathlib import Path

import numpy as np
import pytest

from realizar import LLM
from realizar.engine.engine import Engine
from realizar.errors import ParameterError, RealizarError
from realizar.params import EngineParams, SamplingParams
from realizar.sampling import AdaptiveP, BeamParams, BeamSearch, Sampled
from tests.engine.fake import FULL, N_VOCAB, PLANS, check_cache, expected
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parity"
CASES = json.loads(Path(__file__).with_name("beams.json").read_text("utf-8"))
NAMES = {
    "num_beams": "n_beams", "num_beam_groups": "n_beam_groups", "num_return_sequences": "n",
    "max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens",
}  # fmt: skip


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


@pytest.fixture(scope="module")
def llm():
    with LLM(FIXTURES / "llama" / "model-q5_0.gguf", n_ctx=128, kv_type="f32", activations="f32", n_threads=2) as llm:
        yield llm


def beams(n_beams=3, **params):
    return SamplingParams(**{"n_beams": n_beams, "max_tokens": 10, "ignore_eos": True, **params})


def search(engine, prompt, params):
    request = engine.beam_search(prompt, params)
    return finish(engine, request)[0]


def texts(completion):
    return [output.token_ids for output in completion.outputs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['by']}-{'-'.join(map(str, case['asked'].values()))}")
def test_as_transformers(llm, case):
    asked = {NAMES.get(name, name): value for name, value in case["asked"].items()}
    params = SamplingParams(**asked, stop_token_ids=case["ends"], ignore_eos=True, penalty_last_n=-1)
    (found,) = llm.generate(case["prompt"], params)
    assert texts(found) == [text["tokens"] for text in case["texts"]]
    scores = [text["score"] for text in case["texts"]]
    assert [output.score for output in found.outputs] == pytest.approx(scores, rel=1e-5, abs=1e-5)
    for output in found.outputs:
        stopped = output.token_ids[-1] in case["ends"]
        assert output.finish_reason == ("stop_token" if stopped else "length")


def alone(plan, prompt, params, end_ids=()):
    """What the scoring finds where each text is computed anew: no cache, no forks."""
    search = BeamSearch(
        BeamParams(
            params.n_beams, params.n_beam_groups, params.diversity_penalty, params.length_penalty,
            params.early_stopping, params.max_tokens,
        )
    )  # fmt: skip
    while search.live:
        rows = []
        for beam in search.live:
            x = expected(plan, [*prompt, *beam.tokens]).astype(np.float64)
            x -= np.log(np.exp(x).sum())
            order = np.lexsort((np.arange(N_VOCAB), -x))[: search.n_ranked(len(end_ids))]
            rows.append([(Sampled(int(i), None, []), float(x[i])) for i in order])
        search.advance(rows, lambda i, token: token in end_ids)
    return [ended.beam.tokens for ended in search.best(params.n)]


@pytest.mark.parametrize("groups", [1, 2])
def test_each_text_is_computed_as_if_alone(plan, groups):
    params = beams(4, n=4, n_beam_groups=groups, diversity_penalty=0.5 * (groups - 1), max_tokens=20)
    engine = engine_of(plan, n_seqs=4)
    assert texts(search(engine, PROMPT[:37], params)) == alone(plan, PROMPT[:37], params)
    check_cache(engine.cache, [])


def test_nothing_beside_it_and_no_chunk_changes_it(plan):
    params = beams(4, n=4, max_tokens=20)
    engine = engine_of(plan, n_seqs=8, n_batch=64)
    want = search(engine, PROMPT[:37], params)
    request = engine.beam_search(PROMPT[:37], params)
    others = [engine.generate(PROMPT[:n], greedy(15)) for n in (20, 38)]
    beside, *_ = finish(engine, request, *others)
    small = engine_of(plan, n_seqs=4, n_batch=5)
    cut = search(small, PROMPT[:37], params)
    assert texts(want) == texts(beside) == texts(cut)
    assert [o.score for o in want.outputs] == [o.score for o in beside.outputs] == [o.score for o in cut.outputs]
    check_cache(engine.cache, [])


def test_as_many_beams_as_there_is_room_for(plan):
    """Every block and slot there is: forks take none before those that were given up are back."""
    engine = engine_of(plan, n_seqs=3)
    params = beams(3, n=3, max_tokens=None)
    for _ in range(2):
        assert {len(ids) for ids in texts(search(engine, PROMPT[:20], params))} == {77}
    check_cache(engine.cache, [])


def test_a_step_that_fails_can_be_made_again():
    engine = engine_of(n_seqs=4)
    params = beams(4, n=4)
    request = engine.beam_search(PROMPT[:20], params)
    for fails_at in (1, 3):
        for _ in range(fails_at):
            engine.step()
        engine.model.program.fail = MemoryError()
        with pytest.raises(MemoryError):
            engine.step()
        engine.model.program.fail = None
    (found,) = finish(engine, request)
    assert texts(found) == alone(FULL, PROMPT[:20], params)
    check_cache(engine.cache, [])


def test_stop_strings_end_texts():
    engine = engine_of(n_seqs=4)
    whole = search(engine, PROMPT[:20], beams(4, n=4, length_penalty=0.0))
    stop = whole.outputs[2].text[3:5]
    found = search(engine, PROMPT[:20], beams(4, n=4, length_penalty=0.0, early_stopping="never", stop=stop))
    ended = [output for output in found.outputs if output.stop_reason == stop]
    assert ended
    for output in ended:
        spelled = "".join(chr(96 + token) for token in output.token_ids)
        assert (spelled, output.finish_reason) == (output.text + stop, "stop_string")


def test_logprobs_are_the_models_own():
    engine = engine_of(n_seqs=4)
    params = beams(3, n=3, logprobs=2, presence_penalty=0.5, penalty_last_n=-1)
    for output in search(engine, PROMPT[:9], params).outputs:
        tokens = PROMPT[:9]
        for token, sampled in zip(output.token_ids, output.logprobs, strict=True):
            x = expected(FULL, tokens).astype(np.float64)
            want = x - np.log(np.exp(x).sum())
            assert sampled.token_id == token
            assert sampled.logprob == pytest.approx(want[token], rel=1e-5)
            assert [i for i, _ in sampled.top] == np.lexsort((np.arange(N_VOCAB), -x))[:2].tolist()
            tokens = [*tokens, token]


def test_penalties_are_subtracted_from_logprobs():
    engine = engine_of(n_seqs=4)
    plain = search(engine, PROMPT[:9], beams(2, max_tokens=1))
    biased = search(engine, PROMPT[:9], beams(2, max_tokens=1, logit_bias={plain.token_ids[0]: -0.001}))
    assert biased.token_ids == plain.token_ids
    assert biased.score == pytest.approx(plain.score - 0.001, abs=1e-5)


def test_the_context_and_the_time_end_a_search():
    engine = engine_of(n_seqs=2)
    found = search(engine, PROMPT[:90], beams(2, max_tokens=None))
    assert (len(found.token_ids), found.finish_reason) == (7, "context")
    request = engine.beam_search(PROMPT[:20], beams(2, n=2, max_time=3600.0))
    for _ in range(3):
        engine.step()
    request.deadline = 0.0
    (cut,) = finish(engine, request)
    assert [(len(o.token_ids), o.finish_reason) for o in cut.outputs] == [(3, "time")] * 2
    request = engine.beam_search(PROMPT[:20], beams(2))
    request.cancel()
    assert finish(engine, request)[0].finish_reason == "cancelled"
    check_cache(engine.cache, [])


def test_a_function_of_the_batch_sees_the_texts():
    seen = []

    def shift(logits, histories):
        assert len(logits) == len(histories)
        seen.append(len(histories))
        logits[:, 5] += 40.0

    engine = engine_of(n_seqs=4)
    found = search(engine, PROMPT[:20], beams(3, samplers=[shift], max_tokens=4))
    assert seen == [1, 3, 3, 3]
    assert found.token_ids == [5] * 4


def test_rules_that_leave_nothing_end_it_with_an_error():
    engine = engine_of(n_seqs=4)
    bans = SamplingParams(n_beams=2, logit_bias=dict.fromkeys(range(N_VOCAB), -np.inf))
    request = engine.beam_search(PROMPT[:9], bans)
    engine.wait(lambda: request.is_over)
    assert isinstance(request.error, RealizarError)
    assert "no next token for any beam" in str(request.error)
    check_cache(engine.cache, [])


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"temperature": 0.7}, "n_beams=3, temperature=0.7: beam search does not draw"),
        ({"top_p": 0.9}, "top_p=0.9"),
        ({"mirostat": 2}, "mirostat=2"),
        ({"samplers": [AdaptiveP(0.3)]}, "depends on the tokens drawn"),
        ({"n": 4}, "n=4: must be at most n_beams=3"),
        ({"best_of": 3}, "best_of=3: must be None with n_beams=3"),
        ({"n_beam_groups": 2}, "n_beam_groups=2: must be a divisor of n_beams=3"),
        ({"n_beam_groups": 3}, "diversity_penalty=0.0: must be above 0 with 3 groups"),
        ({"early_stopping": "soon"}, "early_stopping='soon': must be True, False or 'never'"),
        ({"n_beams": 0}, "n_beams=0: must be an integer in"),
        ({"n_beams": 5, "max_tokens": None}, "5 sequences of up to 96 tokens need 30 cache blocks, and there are 12"),
    ],
)
def test_what_makes_no_sense(params, says):
    engine = engine_of(n_seqs=2)
    with pytest.raises(ParameterError, match=says):
        engine.beam_search([1], beams(**params))


def test_beams_cannot_be_streamed(llm):
    with pytest.raises(ParameterError, match="3 completions cannot be one stream"):
        llm.stream([1], beams())


@pytest.mark.parametrize("threads", [1, 2])
def test_same_bits_whatever_the_threads(llm, threads):
    params = beams(4, n=4, max_tokens=12)
    prompt = CASES[1]["prompt"]
    want = llm.generate(prompt, params)[0]
    path = FIXTURES / "llama" / "model-q5_0.gguf"
    with LLM(path, n_ctx=64, kv_type="f32", activations="f32", n_threads=threads, n_batch=7) as other:
        for _ in range(2):  # the second time the prompt is in the cache
            found = other.generate([prompt, prompt[1:]], params)[0]
            assert [(o.token_ids, o.score) for o in found.outputs] == [(o.token_ids, o.score) for o in want.outputs]


def test_an_engine_of_one_sequence_has_no_room_for_beams():
    engine = Engine(engine_of().model, EngineParams(n_ctx=96, n_seqs=1, n_batch=2, kv_type="f32", n_threads=2))
    with pytest.raises(ParameterError, match="3 sequences at once, but the engine computes 2"):
        engine.beam_search([1], beams(3))
