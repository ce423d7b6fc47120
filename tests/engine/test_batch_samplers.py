"""Batch logits processors: called once for all sequences that name them, on a copy of their logits."""

import numpy as np

from realizar.engine.engine import Engine
from realizar.params import EngineParams, SamplingParams
from tests.engine.fake import FULL, N_VOCAB, FakeModel


def engine():
    return Engine(FakeModel(FULL), EngineParams(n_ctx=96, n_seqs=4, n_batch=32, kv_type="f32", n_threads=2))


class Only:
    """Lets one token pass, and notes what it was given."""

    def __init__(self, token):
        self.token, self.seen = token, []

    def __call__(self, logits, histories):
        self.seen.append((logits.shape, logits.flags.owndata, [list(history) for history in histories]))
        best = logits[:, self.token].copy()
        logits[:] = -np.inf
        logits[:, self.token] = best


def params(*samplers, n=3):
    return SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True, samplers=[*samplers, "temperature"])


def test_one_call_for_all_that_name_it():
    only, e = Only(7), engine()
    requests = [e.generate([i, i + 1], params(only)) for i in (3, 5, 8)]
    e.wait(lambda: all(request.is_over for request in requests))
    assert [request.answers[0].token_ids for request in requests] == [[7, 7, 7]] * 3
    assert only.seen[0] == ((3, N_VOCAB), True, [[3, 4], [5, 6], [8, 9]])
    assert only.seen[2][2] == [[3, 4, 7, 7], [5, 6, 7, 7], [8, 9, 7, 7]]
    assert len(only.seen) == 3


def test_the_others_are_left_alone():
    only, e = Only(7), engine()
    free = e.generate([5, 6], params())
    e.wait(lambda: free.is_over)
    requests = [e.generate([5, 6], params(*who)) for who in ([only], [], [only])]
    e.wait(lambda: all(request.is_over for request in requests))
    assert [request.answers[0].token_ids for request in requests] == [[7, 7, 7], free.answers[0].token_ids, [7, 7, 7]]
    assert only.seen[0][:2] == ((2, N_VOCAB), True)


def test_the_rows_of_others_and_of_the_backend_stay_as_they_are():
    only, e = Only(7), engine()
    run, seen = e.runner.run, []

    def kept(*args):
        found = run(*args)
        seen.append((found["logits"], found["logits"].values.copy()))
        return found

    e.runner.run = kept
    for who in ([only, Only(9)], [], [only]):
        e.generate([5, 6], params(*who, n=1))
    e.step()
    ((rows, before),) = seen
    np.testing.assert_array_equal(rows.values, before)
    assert not rows.values.flags.writeable
    assert [shape for shape, _, _ in only.seen] == [(2, N_VOCAB)]


def test_a_function_that_fails_ends_its_requests_alone():
    def broken(logits, histories):
        raise ZeroDivisionError("by hand")

    e = engine()
    bad, good = e.generate([5, 6], params(broken)), e.generate([5, 6], params())
    e.wait(lambda: bad.is_over and good.is_over)
    assert "broken" in str(bad.error)
    assert "ZeroDivisionError: by hand" in str(bad.error)
    assert len(good.answers[0].token_ids) == 3
