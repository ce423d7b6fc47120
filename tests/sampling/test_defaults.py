"""Sampling defaults of a model file apply where a request leaves a parameter unset."""

import warnings

import pytest

from realizar import LLM, SamplingParams
from realizar.engine.engine import Engine
from realizar.errors import ParameterError
from realizar.gguf.types import ValueType
from realizar.params import EngineParams, ResolvedParams, resolved
from realizar.params.sampling import DEFAULTS
from realizar.sampling import MinP, Penalties, SamplerChain, SuppressedTokens, Temperature, TopK, TopP
from realizar.sampling.defaults import KEYS, of_file, resolve
from tests.engine.fake import FakeModel
from tests.limits.models import LLAMA, rewritten

FILE = {"temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05}
METADATA = {
    "general.sampling.temp": 0.6, "general.sampling.top_k": 20, "general.sampling.top_p": 0.95,
    "general.sampling.penalty_repeat": 1.05,
}  # fmt: skip


def chain(params, file):
    return SamplerChain.from_params(resolve(params, file), 100, 0).samplers


def test_every_key_of_llama_cpp_is_read():
    values = {"top_k": 7, "penalty_last_n": -1, "mirostat": 2, "penalty_repeat": 1.5, "temp": 0.0}
    metadata = {f"general.sampling.{key}": values.get(key, 0.25) for key in KEYS}
    found = of_file(metadata)
    assert found == {field: values.get(key, 0.25) for key, field in KEYS.items()}
    assert set(found) == set(DEFAULTS)
    assert of_file({"general.sampling.other": 3}) == {}


def test_the_order_of_a_file_uses_the_names_of_llama_cpp():
    found = of_file({"general.sampling.sequence": "penalties;dry;top-k;typ_p;nucleus;min_p;xtc;temp;"})
    order = ("penalties", "dry", "top_k", "typical_p", "top_p", "min_p", "xtc", "temperature", "mirostat")
    assert found == {"samplers": order}
    with pytest.warns(UserWarning, match=r"general.sampling.sequence='top_k;adaptive_p': \['adaptive_p'\] is ignored"):
        assert of_file({"general.sampling.sequence": "top_k;adaptive_p"}) == {"samplers": ("top_k", "mirostat")}
    for value in (3, "", "?"):
        with pytest.warns(UserWarning, match="general.sampling.sequence=.* is ignored"):
            assert of_file({"general.sampling.sequence": value}) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temp", -1.0), ("temp", float("nan")), ("temp", "0.5"), ("top_k", -2), ("top_k", 2.5), ("top_p", 1.5),
        ("min_p", -0.1), ("xtc_probability", 2.0), ("penalty_last_n", -2), ("penalty_repeat", 0.0), ("mirostat", 3),
        ("mirostat_tau", float("inf")), ("mirostat_eta", [0.1]), ("xtc_threshold", True),
    ],
)  # fmt: skip
def test_invalid_values_are_ignored_with_a_warning(key, value):
    field = KEYS[key]
    with pytest.warns(
        UserWarning, match=rf"general\.sampling\.{key} is ignored: {field}=.*; using {field}={DEFAULTS[field]}"
    ):
        assert of_file({"general.sampling.typical_p": 0.5, f"general.sampling.{key}": value}) == {}


def test_precedence_is_request_then_file_then_default():
    found = resolve(SamplingParams(top_p=0.5, min_p=0.1), FILE)
    assert isinstance(found, ResolvedParams)
    assert (found.temperature, found.top_k, found.top_p, found.min_p) == (0.6, 20, 0.5, 0.1)
    assert (found.repetition_penalty, found.penalty_last_n, found.mirostat) == (1.05, 64, 0)
    assert resolve(SamplingParams(**DEFAULTS), FILE) == resolved(SamplingParams())
    assert resolve(resolved(SamplingParams()), FILE) == resolved(SamplingParams())
    assert all(getattr(resolved(SamplingParams()), name) == value for name, value in DEFAULTS.items())
    assert all(getattr(SamplingParams(), name) is None for name in DEFAULTS)


def test_the_chain_of_a_request():
    penalties = Penalties(1.05, 0.0, 0.0, 64)
    assert chain(SamplingParams(), FILE) == (penalties, TopK(20), TopP(0.95), Temperature(0.6))
    assert chain(SamplingParams(), {}) == ()
    # If the request sets the order, the file's values apply to the samplers in it.
    assert chain(SamplingParams(samplers=["temperature", "top_k"]), FILE) == (Temperature(0.6), TopK(20))
    assert chain(SamplingParams(samplers=[]), FILE) == ()


def test_the_files_order_applies_only_if_it_has_all_requested_samplers():
    file = FILE | {"samplers": ("temperature", "top_k", "mirostat")}
    assert chain(SamplingParams(), file) == (Temperature(0.6), TopK(20))
    assert chain(SamplingParams(top_k=3), file) == (Temperature(0.6), TopK(3))
    penalties = Penalties(1.05, 0.0, 0.0, 64)
    assert chain(SamplingParams(min_p=0.1), file) == (penalties, TopK(20), TopP(0.95), MinP(0.1), Temperature(0.6))


def test_a_conflict_between_request_and_file_names_both():
    with pytest.raises(
        ParameterError, match=r"^n=2: must be 1 at temperature 0.*the model file sets these defaults.*temperature"
    ):
        resolve(SamplingParams(n=2), {"temperature": 0.0})
    assert resolve(SamplingParams(n=2, temperature=0.5), {"temperature": 0.0}).n == 2


def test_the_engine_applies_the_defaults_except_to_beam_search():
    model = FakeModel()
    model.file.metadata = METADATA
    engine = Engine(model, EngineParams(n_threads=2, n_ctx=64))
    assert engine.sampling_defaults == FILE
    request = engine.generate([1, 2], SamplingParams(max_tokens=1))
    assert request.params == resolve(SamplingParams(max_tokens=1), FILE)
    own = resolved(SamplingParams(temperature=0.0, max_tokens=1))
    assert engine.generate([1, 2], own).params == own
    beams = SamplingParams(n_beams=2, max_tokens=1)
    assert engine.beam_search([1, 2], beams).params == resolved(beams)
    engine.close()


def test_suppressed_tokens_come_before_everything():
    made = SamplerChain.from_params(SamplingParams(temperature=0.0), 4, 0, suppressed=(1, 3))
    assert made.samplers[0] == SuppressedTokens((1, 3))
    assert made.sample([0.0, 9.0, 1.0, 8.0], [], 0).token_id == 2


def test_a_model_file_with_defaults(tmp_path):
    greedy = SamplingParams(temperature=0.0, max_tokens=4)
    with LLM(LLAMA, n_threads=1) as llm:
        assert llm.sampling_defaults == {}
        first = llm.generate([1, 2, 3], greedy)[0].token_ids
    changes = {"general.sampling.temp": (0.0, ValueType.FLOAT32), "general.sampling.top_k": (20, ValueType.INT32)}
    changes |= {"general.sampling.min_p": (7.0, ValueType.FLOAT32)}
    path = rewritten(LLAMA, tmp_path / "greedy.gguf", changes)
    with pytest.warns(UserWarning, match="general.sampling.min_p is ignored"):
        made = LLM(path, n_threads=1)
    with made as llm:
        assert llm.sampling_defaults == {"temperature": 0.0, "top_k": 20}
        assert llm.generate([1, 2, 3], SamplingParams(max_tokens=4))[0].token_ids == first
        warm = SamplingParams(temperature=50.0, top_k=0, max_tokens=4, seed=1)
        assert llm.generate([1, 2, 3], warm)[0].token_ids != first
    changes = {"tokenizer.ggml.suppress_tokens": (first, ValueType.INT32)}
    path = rewritten(LLAMA, tmp_path / "suppressed.gguf", changes)
    with LLM(path, n_threads=1) as llm, warnings.catch_warnings():
        warnings.simplefilter("error")
        for params in (greedy, SamplingParams(max_tokens=30, seed=2), SamplingParams(n_beams=2, max_tokens=4)):
            assert not set(llm.generate([1, 2, 3], params)[0].token_ids) & set(first)
