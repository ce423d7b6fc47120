"""`bench` on a committed fixture: the keys that others read, and shares that follow from the other numbers."""

import json

import pytest

from tests.parity.cases import FIXTURES

QWEN = str(FIXTURES / "qwen2/model-q4_k_m.gguf")
KEYS = (
    "model_bytes, bytes_per_token, n_threads, isa, read_gb_s, int8_tops, load_s, prefill_tok_s, prefill_share,"
    " decode_tok_s, decode_share, step_ms_p50, step_ms_p95, step_ms_p99, peak_rss_bytes, kv_bytes"
)


@pytest.fixture(scope="module")
def found():
    from realizar.cli.measure import measure

    return measure(QWEN, 2, 32, 8)


def test_json_has_exactly_the_keys(realizar):
    status, out, err = realizar("bench", QWEN, "-t", "1", "-p", "8", "-n", "4", "--json")
    assert (status, err) == (0, "")
    assert sorted(json.loads(out)) == sorted(KEYS.split(", "))
    assert json.loads(out)["n_threads"] == 1


def test_the_table_is_for_people(realizar):
    status, out, _ = realizar("bench", QWEN, "-t", "2", "-p", "8", "-n", "4")
    assert status == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["model", "machine", "load", "prefill", "decode", "step", "memory"]
    assert "2 threads" in out


def test_numbers_go_together(found):
    assert 0 < found.bytes_per_token < found.model_bytes
    assert found.step_ms_p50 <= found.step_ms_p95 <= found.step_ms_p99
    assert min(found.load_s, found.prefill_tok_s, found.prefill_share, found.decode_tok_s, found.decode_share) > 0
    assert found.kv_bytes > 0


def test_a_model_that_is_not_there(realizar):
    status, out, err = realizar("bench", "nope.gguf")
    assert (status, out) == (1, "")
    assert "smollm2" in err
