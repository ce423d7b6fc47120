"""SamplingParams: values that make no sense are refused by name."""

import math

import pytest

from realizar import SamplingParams
from realizar.errors import ParameterError

WRONG = {
    "temperature": [math.nan, math.inf, -1.0, "1", True, 10**400],
    "top_k": [-1, 1.5, True],
    "top_p": [math.nan, -0.1, 1.1],
    "min_p": [math.nan, -0.1, 1.1],
    "repetition_penalty": [0.0, math.nan],
    "presence_penalty": [math.inf, None],
    "frequency_penalty": [-math.inf, "0"],
    "penalty_last_n": [-2, 0.5],
    "seed": [1.0, "1"],
    "max_tokens": [0, -1, 1.0],
    "stop": ["", ["a", ""], [1], 7],
    "stop_token_ids": [["a"], 7],
    "ignore_eos": [1, None],
    "logprobs": [-1, 1001, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_makes_no_sense_is_refused(name, value):
    with pytest.raises(ParameterError, match=f"^{name}="):
        SamplingParams(**{name: value})


def test_one_stop_string_is_taken_too():
    assert SamplingParams(stop="END").stop == ("END",)
