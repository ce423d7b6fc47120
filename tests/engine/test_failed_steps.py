"""Steps that fail or are interrupted can be made again, also where they have changed recurrent states."""

import pytest

from realizar.params import SamplingParams
from tests.engine.fake import FULL, PLANS, check_cache, continuation
from tests.engine.test_engine import PROMPT, engine_of, finish, greedy


@pytest.fixture(params=PLANS)
def plan(request):
    return PLANS[request.param]


def test_a_step_that_fails_can_be_made_again():
    engine = engine_of()
    request = engine.generate(PROMPT[:40], greedy(5))
    engine.step()
    engine.model.program.fail = MemoryError()
    with pytest.raises(MemoryError):
        engine.wait(lambda: request.is_over)
    engine.model.program.fail = None
    (completion,) = finish(engine, request)
    assert completion.token_ids == continuation(FULL, PROMPT[:40], 5, 96)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_a_step_that_fails_after_it_has_changed_states_can_be_made_again(plan, n_steps):
    def make(engine):
        sampled = [SamplingParams(temperature=1.0, seed=1, n=n, max_tokens=9, ignore_eos=True) for n in (1, 3)]
        searched = SamplingParams(n_beams=3, max_tokens=9, ignore_eos=True)
        requests = [engine.generate(PROMPT[:n], params) for n, params in zip((40, 7), sampled, strict=True)]
        return [*requests, engine.beam_search(PROMPT[:21], searched)]

    def texts(engine, requests):
        return [[output.token_ids for output in found.outputs] for found in finish(engine, *requests)]

    calm = engine_of(plan, n_seqs=8)
    want = texts(calm, make(calm))
    engine = engine_of(plan, n_seqs=8)
    requests = make(engine)
    for _ in range(n_steps):
        engine.step()
    engine.model.program.fail_late = MemoryError()
    with pytest.raises(MemoryError):
        engine.step()
    engine.model.program.fail_late = None
    assert texts(engine, requests) == want
    assert max(batch.n_tokens for batch in engine.model.program.steps) <= 32
    check_cache(engine.cache, [])


def test_a_step_that_an_interrupt_ends_can_be_made_again(plan):
    """Ctrl-C in a sampler of one request, when the states of all have been advanced."""
    engine = engine_of(plan)
    requests = [engine.generate(PROMPT[:n], greedy(9)) for n in (20, 7)]
    engine.step()
    sampler = requests[0].answers[0]._sampler
    sample = sampler.sample

    def interrupted(*args):
        sampler.sample = sample
        raise KeyboardInterrupt

    sampler.sample = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    for completion, n in zip(finish(engine, *requests), (20, 7), strict=True):
        assert completion.token_ids == continuation(plan, PROMPT[:n], 9, 96)
    check_cache(engine.cache, [])
