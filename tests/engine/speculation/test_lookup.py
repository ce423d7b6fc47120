"""Lookup against its definition; what guesses and steps were measured to be, and what is chosen by that."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar._kernels import lookup
from realizar.engine.speculation.lookup import LookupDrafter, LookupSpeculator
from realizar.engine.speculation.speculator import LEAST_GAIN, HitRate, StepCost


def definition(history, most, n_draft):
    """The longest end that ends earlier too, of those the last; then what followed, round and round."""
    n = len(history)
    for length in range(min(most, n - 1), 0, -1):
        for end in range(n - 1, length - 1, -1):
            if history[end - length : end] == history[n - length :]:
                drafts = list(history)
                while len(drafts) < n + n_draft:
                    drafts.append(drafts[end + len(drafts) - n])
                return length, drafts[n:]
    return 0, []


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 9), st.integers(0, 50))
def test_repeat(history, most, n_draft):
    length, drafts = lookup.repeat(np.array(history, np.int32), most, n_draft)
    assert drafts.dtype == np.int32
    assert (length, drafts.tolist()) == definition(history, most, n_draft)


@pytest.mark.parametrize(("most", "n_draft"), [(0, 3), (3, -1)])
def test_sizes_that_make_no_sense(most, n_draft):
    with pytest.raises(ValueError, match="must be at least"):
        lookup.repeat(np.zeros(4, np.int32), most, n_draft)


def test_a_drafter_comes_to_trust_what_repeats_and_distrust_what_does_not():
    chances = []
    for follows in (True, False):
        drafter = LookupDrafter()
        for _ in range(20):
            guess = drafter.guess(np.array([5, 6, 7, 8, 1, 2, 5, 6], np.int32), 2)
            assert guess.tokens.tolist() == [7, 8]
            drafter.learn([7, 8, 1] if follows else [9])
        chances.append(drafter.guess(np.array([5, 6, 7, 8, 1, 2, 5, 6], np.int32), 2).chances)
    assert min(chances[0]) > 0.6
    assert max(chances[1]) < 0.15


def test_a_drafter_learns_no_more_than_followed():
    drafter = LookupDrafter()
    before = drafter.guess(np.array([5, 6, 7, 8, 5, 6], np.int32), 3).chances
    drafter.learn([7])  # nothing was tried; what follows 7 is not known yet
    after = drafter.guess(np.array([5, 6, 7, 8, 5, 6], np.int32), 3).chances
    assert after[0] > before[0]
    assert len(after) >= len(before) > 1
    np.testing.assert_allclose(after[1] / after[0], before[1] / before[0])


def test_hit_rates_forget():
    rates = HitRate((0.5, 0.5))
    for _ in range(200):
        rates.learn(1, True)
    assert rates.rates[1] > 0.98
    for _ in range(80):
        rates.learn(1, False)
    assert rates.rates[1] < 0.2
    assert rates.rates[0] == 0.5


def test_costs_of_steps_are_medians_and_the_others_between_them():
    cost = StepCost(32)
    usual = np.array(cost.seconds)
    for seconds in (0.2, 0.2, 9.0, 0.2):
        cost.learn(1, seconds)
    np.testing.assert_allclose(cost.seconds, 0.2 * usual)
    cost.learn(8, 0.4 * usual[8])
    np.testing.assert_allclose(cost.seconds[8:], 0.4 * usual[8:])
    assert 0.2 * usual[4] < cost.seconds[4] < 0.4 * usual[4]
    before = cost.seconds
    cost.learn(33, 1.0)
    assert cost.seconds is before
    for _ in range(8):
        cost.learn(1, 0.1)
    np.testing.assert_allclose(cost.seconds[1], 0.1)


chances_of_a_text = st.lists(st.floats(0.01, 0.99), max_size=3).map(lambda rates: np.cumprod(rates).tolist())


@given(st.lists(chances_of_a_text, min_size=1, max_size=3), st.integers(0, 9), st.floats(0.01, 0.5))
def test_the_choice_is_the_best_of_all(chances, room, slope):
    speculator = LookupSpeculator(31, 64)
    speculator.cost._seconds = (1.0 + slope * np.arange(65)).tolist()
    counts = speculator._choose(chances, room)

    def rate(each):
        tokens = len(chances) + sum(sum(c[:n]) for c, n in zip(chances, each, strict=True))
        return tokens / speculator.cost.seconds[len(chances) + sum(each)]

    every = [each for each in product(*(range(len(c) + 1) for c in chances)) if sum(each) <= room]
    best = max(map(rate, every))
    assert tuple(counts) in every
    if best < LEAST_GAIN * rate([0] * len(chances)):
        assert sum(counts) == 0
    else:
        np.testing.assert_allclose(rate(counts), best)
