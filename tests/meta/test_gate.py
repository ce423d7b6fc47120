"""The regression gate judges results as asv stores them: times by ratio and interval, counted numbers exactly."""

import importlib
import json

import pytest

from tests.meta.house import ROOT

COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b"]


@pytest.fixture(scope="module")
def gate():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "asv_bench"))
        yield importlib.import_module("gate")


def stored(folder, commit, step, counted=1000.0, spread=0.01):
    """Write the results of a commit: a time of two parameters and a counted number."""
    row = [step, [["'Q4_K'", "'Q5_0'"]], "1", 0, 0, [(1 - spread) * s for s in step], [(1 + spread) * s for s in step]]
    results = {"decode.Decode.time_step": row, "decode.Decode.track_bytes": [[counted], [], "1"]}
    (folder / "vm").mkdir(exist_ok=True)
    text = json.dumps({"result_columns": COLUMNS, "results": results, "version": 2})
    (folder / "vm" / f"{commit[:8]}-virtualenv-py3.11.json").write_text(text)


def judged(gate, folder, changed=()):
    return gate.judge(gate.read(folder, "a" * 40), gate.read(folder, "b" * 40), list(changed))


def test_a_time_may_be_five_percent_worse(gate, tmp_path):
    stored(tmp_path, "a" * 40, [1.0, 2.0])
    stored(tmp_path, "b" * 40, [1.04, 1.0])
    assert judged(gate, tmp_path) == []
    stored(tmp_path, "b" * 40, [1.0, 2.2])
    (line,) = judged(gate, tmp_path)
    assert line.startswith("decode.Decode.time_step 'Q5_0': 1.10 x")


def test_overlapping_intervals_pass(gate, tmp_path):
    stored(tmp_path, "a" * 40, [1.0, 2.0], spread=0.1)
    stored(tmp_path, "b" * 40, [1.1, 2.2], spread=0.1)
    assert judged(gate, tmp_path) == []


def test_counted_numbers_are_exact(gate, tmp_path):
    stored(tmp_path, "a" * 40, [1.0, 2.0], counted=1000.0)
    stored(tmp_path, "b" * 40, [1.0, 2.0], counted=999.0)
    assert judged(gate, tmp_path) == ["decode.Decode.track_bytes: 1000 has become 999"]
    assert judged(gate, tmp_path, changed=["track_bytes"]) == []


def test_results_must_be_there(gate, tmp_path):
    with pytest.raises(SystemExit, match="0 results of aaaaaaaa"):
        gate.read(tmp_path, "a" * 40)


def test_a_new_failure_is_worse_and_a_skip_is_not(gate, tmp_path):
    for commit in ("a" * 40, "b" * 40):
        stored(tmp_path, commit, [1.0, 2.0])
    path = tmp_path / "vm" / "bbbbbbbb-virtualenv-py3.11.json"
    whole = json.loads(path.read_text())
    whole["results"]["decode.Decode.time_step"][0] = [None, float("nan")]
    whole["results"]["load.Load.time_llm"] = [None, [], "1"]  # the old commit had no such benchmark
    path.write_text(json.dumps(whole))
    assert judged(gate, tmp_path) == ["decode.Decode.time_step 'Q4_K': fails or times out"]
    assert gate.judge(gate.read(tmp_path, "b" * 40), gate.read(tmp_path, "a" * 40), []) == []
