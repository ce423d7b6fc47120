"""Beam search against its definition over all continuations, on a fake model with random logprobs."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.sampling import BeamParams, BeamSearch, Sampled

N_VOCAB = 7


def logprobs(seed, tokens):
    x = np.random.default_rng([seed, *tokens]).normal(size=N_VOCAB) * 2
    return x - np.log(np.exp(x).sum())


def search(params, seed, end_ids, stop=None):
    """Run BeamSearch with only as many continuations as it requests."""
    beams = BeamSearch(params)
    while live := beams.live:
        rows = []
        for beam in live:
            row = logprobs(seed, beam.tokens)
            best = np.argsort(-row)[: beams.n_ranked(len(end_ids))]
            rows.append([(Sampled(int(token), None, []), float(row[token])) for token in best])
        texts = [beam.tokens for beam in live]
        steps = beams.advance(rows, lambda i, token, texts=texts: token in end_ids or [*texts[i][-1:], token] == stop)
        assert [beam.tokens for beam in beams.live] == [[*texts[s.parent], s.token] for s in steps]
    return beams


def definition(params, seed, end_ids):
    """The same from all continuations of all live beams, as the documentation of transformers defines it."""
    size, lp = params.n_beams // params.n_groups, params.length_penalty
    live, ended = [[((), 0.0)] for _ in range(params.n_groups)], [[] for _ in range(params.n_groups)]
    for n in range(1, params.n_tokens + 1):
        taken = Counter()
        for g in range(params.n_groups):
            found = []
            for tokens, total in live[g]:
                row = logprobs(seed, tokens)
                found += [((*tokens, t), total + row[t] - params.diversity_penalty * taken[t]) for t in range(N_VOCAB)]
            found.sort(key=lambda f: -f[1])
            over = [tokens[-1] in end_ids or n == params.n_tokens for tokens, _ in found]
            ended[g] += [
                (total / n**lp, tokens) for (tokens, total), o in list(zip(found, over, strict=True))[:size] if o
            ]
            ended[g] = sorted(ended[g], reverse=True)[:size]
            live[g] = [f for f, o in zip(found, over, strict=True) if not o][:size]
            taken.update(tokens[-1] for tokens, _ in live[g])
            if live[g] and len(ended[g]) == size:
                length = params.n_tokens if params.early_stopping == "never" and lp > 0 else n
                if params.early_stopping is True or live[g][0][1] / length**lp <= ended[g][-1][0]:
                    live[g] = []
    return sorted((e for group in ended for e in group), reverse=True)


@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(1, 1), (2, 1), (3, 1), (5, 1), (4, 2), (6, 3), (4, 4)]),
    diversity=st.sampled_from([0.0, 0.3, 5.0]),
    penalty=st.sampled_from([1.0, 0.0, 2.0, -1.0]),
    early=st.sampled_from([False, True, "never"]),
    n=st.integers(1, 6),
    end_ids=st.sets(st.integers(0, N_VOCAB - 1), max_size=2),
)
def test_beam_search_matches_its_definition(seed, shape, diversity, penalty, early, n, end_ids):
    params = BeamParams(*shape, diversity, penalty, early, n)
    want = definition(params, seed, end_ids)
    found = search(params, seed, end_ids).best(params.n_beams)
    assert [tuple(e.beam.tokens) for e in found] == [tokens for _, tokens in want]
    np.testing.assert_allclose([e.score for e in found], [score for score, _ in want], rtol=1e-9)
    assert [e.stopped for e in found] == [tokens[-1] in end_ids for _, tokens in want]


def test_enough_beams_find_the_best_sequence():
    def total(tokens):
        return sum(logprobs(3, tokens[:i])[token] for i, token in enumerate(tokens))

    best = max(product(range(N_VOCAB), repeat=3), key=total)
    found = search(BeamParams(N_VOCAB**2, 1, 0.0, 1.0, False, 3), 3, set()).best(1)
    assert tuple(found[0].beam.tokens) == best
    assert found[0].score == pytest.approx(total(best) / 3)


def test_one_beam_is_greedy():
    tokens = []
    for _ in range(5):
        tokens.append(int(logprobs(11, tokens).argmax()))
    assert search(BeamParams(1, 1, 0.0, 1.0, False, 5), 11, set()).best(1)[0].beam.tokens == tokens


def test_stop_conditions_may_depend_on_the_sequence():
    params = BeamParams(3, 1, 0.0, 0.0, "never", 8)
    stop = search(params, 5, set()).best(1)[0].beam.tokens[2:4]
    found = search(params, 5, set(), stop).best(3)
    assert found[0].beam.tokens[-2:] == stop
    assert found[0].stopped


def test_a_high_diversity_penalty_makes_groups_differ():
    beams = search(BeamParams(4, 4, 100.0, 1.0, False, 5), 2, set())
    texts = [group.ended[0].beam.tokens for group in beams.groups]
    assert all(len(set(column)) == 4 for column in list(zip(*texts, strict=True))[:-1])


def test_rows_without_candidates_end_the_search():
    beams = BeamSearch(BeamParams(2, 1, 0.0, 1.0, False, 5))
    beams.advance([[(Sampled(1, None, []), -0.5)]], lambda i, token: False)
    assert len(beams.live) == 1
    beams.advance([[]], lambda i, token: False)
    assert (beams.live, beams.best(2)) == ([], [])
