"""SamplingParams and EngineParams: errors name the invalid parameter."""

import math

import numpy as np
import pytest

from realizar import SamplingParams
from realizar.errors import ParameterError
from realizar.params import EngineParams, kv_types

WRONG = {
    "temperature": [math.nan, math.inf, -1.0, "1", True, 10**400],
    "top_k": [-2, 1.5, True],
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
    "typical_p": [math.nan, 1.5],
    "tfs_z": [-0.1, "1"],
    "top_a": [1.1, None],
    "top_n_sigma": [-1.0, math.inf],
    "epsilon_cutoff": [-1e-9, 2],
    "eta_cutoff": [math.nan],
    "dynatemp_range": [-1.0],
    "dynatemp_exponent": [-1.0, "2"],
    "smoothing_factor": [-0.1, math.inf],
    "smoothing_curve": [0.0, 0.9],
    "dry_multiplier": [-1.0],
    "dry_base": [0.9],
    "dry_allowed_length": [0, 1.5],
    "dry_sequence_breakers": ["", [1], 5],
    "no_repeat_ngram_size": [-1, True],
    "logit_bias": [7, {"1": 2.0}, {1: "2"}, {1: math.nan}, {1: math.inf}, [(1, 2.0), (1, 3.0)], [5]],
    "allowed_token_ids": [[], 5, ["a"]],
    "bad_words": ["", ["a", ""], 3],
    "min_tokens": [-1, 1.0, 257],
    "xtc_probability": [1.1, math.nan],
    "xtc_threshold": [-0.1],
    "mirostat": [3, -1, 1.0],
    "mirostat_tau": [-1.0],
    "mirostat_eta": [math.inf],
    "samplers": ["top_k", 7, [3]],
    "logprobs": [-2, 1001, True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_invalid_values(name, value):
    with pytest.raises(ParameterError, match=f"^{name}="):
        SamplingParams(**{name: value})


def test_single_stop_string():
    assert SamplingParams(stop="END").stop == ("END",)


def test_logit_bias_as_mapping():
    assert SamplingParams(logit_bias={5: -math.inf, 2: 1}).logit_bias == ((5, -math.inf), (2, 1))


@pytest.mark.parametrize(
    "values",
    [
        {"speculate": "draft"}, {"speculate": []}, {"speculate": np.zeros(2)}, {"draft": 5}, {"draft": b"small.gguf"},
        {"draft": "small.gguf", "speculate": "ngram"}, {"n_draft": 0}, {"n_draft": 256}, {"n_draft": 10**400},
        {"n_draft": True}, {"n_draft": 2.0},
    ],
)  # fmt: skip
def test_invalid_speculation_params(values):
    with pytest.raises(ParameterError, match=f"^{next(iter(values))}="):
        EngineParams(**values)


@pytest.mark.parametrize("value", ["f8", "", None, 16, ("f16",), ("f16", "f8"), ["f16", "f16"], ("f16", "f16", "f16")])
def test_invalid_kv_types(value):
    with pytest.raises(ParameterError, match=r"^kv_type=.*'f16', 'f32', 'int8' or 'q4', or a pair"):
        EngineParams(kv_type=value)


def test_kv_types():
    assert kv_types("int8") == ("int8", "int8")
    assert kv_types(EngineParams(kv_type=("int8", "f16")).kv_type) == ("int8", "f16")


def test_schema_as_mapping_or_text():
    schema = {"enum": [1, None]}
    params = SamplingParams(json_schema=schema)
    schema["enum"] = []
    assert params.json_schema == '{"enum": [1, null]}'
    assert SamplingParams(json_schema=params.json_schema) == params
    assert hash(params) == hash(SamplingParams(json_schema={"enum": [1, None]}))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"grammar": ""}, "grammar='': must be a non-empty text"),
        ({"grammar": 3}, "grammar=3: must be a non-empty text"),
        ({"regex": "\ud800"}, "regex=.*: must be a non-empty text"),
        ({"json_schema": "{"}, "json_schema='{': must be a JSON object"),
        ({"json_schema": "[]"}, "must be a JSON object"),
        ({"json_schema": True}, "must be a JSON object"),
        ({"json_schema": {"a": {1}}}, "must be a JSON object"),
        ({"json_schema": {"a": math.nan}}, "must be a JSON object"),
        ({"choice": []}, "choice=.*: must be one or more texts"),
        ({"choice": [""]}, "choice=.*: must be non-empty strings"),
        ({"choice": ["a", 1]}, "choice=.*: must be non-empty strings"),
        ({"lenient": 1}, "lenient=1: must be True or False"),
        ({"regex": "a", "choice": ["a"]}, "regex and choice: only one constraint can be enforced"),
    ],
)
def test_invalid_constraints(given, says):
    with pytest.raises(ParameterError, match=says):
        SamplingParams(**given)
