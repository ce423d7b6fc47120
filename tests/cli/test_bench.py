"""`bench` on a committed fixture: the keys of the JSON, and consistent numbers."""

import json
from dataclasses import asdict
from typing import get_args

import pytest

from realizar import LLM
from realizar.params import Activations, BackendName
from tests.parity.cases import FIXTURES

QWEN = str(FIXTURES / "qwen2/model-q4_k_m.gguf")
KEYS = (
    "config, model_bytes, bytes_per_token, n_threads, isa, read_gb_s, int8_tops, f32_tops, load_s, prefill_s,"
    " prefill_tok_s, prefill_share, decode_tok_s, decode_share, step_ms_p50, step_ms_p95, step_ms_p99, peak_rss_bytes,"
    " devices, kv_bytes"
)


@pytest.fixture(scope="module")
def found():
    from realizar.cli.measure import Config, measure

    return measure(QWEN, 2, Config(n_prompt=32, n_generate=8))


def test_json_has_exactly_the_keys(realizar):
    status, out, err = realizar("bench", QWEN, "-t", "1", "-p", "8", "-n", "4", "--json")
    assert (status, err) == (0, "")
    assert sorted(json.loads(out)) == sorted(KEYS.split(", "))
    assert json.loads(out)["n_threads"] == 1


def test_table(realizar):
    status, out, _ = realizar("bench", QWEN, "-t", "2", "-p", "8", "-n", "4")
    assert status == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["model", "machine", "load", "prefill", "decode", "step", "memory"]
    assert "2 threads" in out


def test_numbers_are_consistent(found):
    assert 0 < found.bytes_per_token < found.model_bytes
    assert found.step_ms_p50 <= found.step_ms_p95 <= found.step_ms_p99
    assert min(found.load_s, found.prefill_tok_s, found.prefill_share, found.decode_tok_s, found.decode_share) > 0
    assert found.kv_bytes > 0


def test_standard_configurations(realizar):
    from realizar.cli.measure import CONFIGS

    sizes = {name: (c.n_prompt, c.n_generate, c.warm_up, c.runs, c.seed) for name, c in CONFIGS.items()}
    assert sizes == {"short": (3, 0, 3, 10, 42), "long": (2048, 0, 1, 5, 42), "decode": (0, 1, 10, 100, 42)}
    status, out, err = realizar("bench", QWEN, "-t", "1", "--config", "short", "--json")
    assert (status, err) == (0, "")
    short = json.loads(out)
    assert short["config"] == {**asdict(CONFIGS["short"]), "activations": "int16"}  # default of small decoders
    assert short["prefill_s"] > 0
    assert short["decode_tok_s"] is None


@pytest.mark.slow
def test_the_configuration_of_decode(realizar):
    status, out, _ = realizar("bench", QWEN, "-t", "1", "--config", "decode", "-n", "2")
    assert status == 0
    assert "over 2 tokens" in out
    assert "prefill" not in out


def test_depth_and_batch(realizar):
    status, out, err = realizar("bench", QWEN, "-t", "1", "-p", "20", "-n", "3", "--depth", "32", "--batch", "5")
    assert (status, err) == (0, "")
    assert "with 20 tokens at depth 32" in out
    assert "over 3 tokens for each of 5 sequences at depth 32" in out
    status, _, err = realizar("bench", QWEN, "--depth", "33")
    assert status == 2
    assert "multiple of 16" in err


def test_floor_of_a_step():
    """Weights count once for all sequences, K and V for each; the larger of read and compute time."""
    from realizar.planning.floor import Floor, Rates, prompt_floor, step_floor

    with LLM(QWEN, n_ctx=64, kv_type="f16", n_threads=1) as llm:
        engine, hp = llm.engine, llm.engine.model.hp
        at = engine.model, engine.cache
        one, more = step_floor(*at, 100, 1), step_floor(*at, 100, 3)
        kept = 100 * 2 * hp.n_layer * hp.n_head_kv * (hp.head_dim + hp.head_dim_v)
        assert one.n_bytes == engine.model.bytes_read() + kept
        row = engine.model.bytes_read(3) - engine.model.bytes_read()
        assert more.n_bytes == one.n_bytes + 2 * kept + row
        assert more.operations == 3 * one.operations
        # the output matrix and ops after the last attention count only for the last token
        last = hp.n_vocab * hp.n_embd + hp.n_head * hp.head_dim_v * hp.n_embd + 3 * hp.n_ff * hp.n_embd
        assert prompt_floor(*at, 7).operations == 7 * (one.operations - 2 * last)
        assert (one.f32_operations, prompt_floor(*at, 7).f32_operations) == (0, 0)
        floats = prompt_floor(*at, 7, activations="f32")
        assert (floats.operations, floats.f32_operations) == (0, prompt_floor(*at, 7).operations)
    rates = Rates(read_gb_s=2.0, int8_tops=1.0, f32_tops=0.25)
    assert Floor(4e9, 1e12).seconds(rates) == 2.0
    assert Floor(4e9, 3e12).seconds(rates) == 3.0
    assert Floor(4e9, 3e12, 1e12).seconds(rates) == 7.0


def test_activations(realizar):
    status, out, err = realizar("bench", QWEN, "-t", "1", "-p", "8", "-n", "2", "--activations", "f32", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["config"]["activations"] == "f32"
    status, _, err = realizar("bench", QWEN, "--activations", "int3")
    assert status != 0
    assert all(name in err for name in get_args(Activations))


def test_backend(realizar):
    status, out, err = realizar("bench", QWEN, "-p", "8", "-n", "2", "--backend", "numpy", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["config"]["backend"] == "numpy"
    status, _, err = realizar("bench", QWEN, "--backend", "gpu")
    assert status != 0
    assert all(name in err for name in get_args(BackendName))


def test_unknown_model(realizar):
    status, out, err = realizar("bench", "nope.gguf")
    assert (status, out) == (1, "")
    assert "smollm2" in err
