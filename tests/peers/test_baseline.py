"""asv_bench/compare.py with another build of realizar, and the confidence interval that it reports."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import realizar
from tests.limits.models import LLAMA
from tests.meta.house import ROOT

SIZES = ("-t", "1", "-p", "20", "-n", "2", "--isa", "scalar")


def compare(*arguments):
    command = [sys.executable, str(ROOT / "asv_bench/compare.py"), str(LLAMA), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def baseline(tmp_path):
    """An environment whose realizar is in another folder, by a link to this one."""
    site, python = tmp_path / "site", tmp_path / "bin" / "python"
    site.mkdir()
    python.parent.mkdir()
    (site / "realizar").symlink_to(Path(realizar.__file__).parent)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return tmp_path


@pytest.mark.slow
def test_a_baseline_alone(baseline):
    done = compare(*SIZES, "-r", "6", "--baseline", baseline, "--no-llama", "--activations", "f32", "--json")
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)
    assert model["activations"] == "f32"
    assert [result["phase"] for result in model["phases"]] == ["prefill(20)", "decode(2)"]
    for result in model["phases"]:
        assert list(result["tok_s"]) == ["realizar", "baseline"]
        assert list(result["ratios"]) == ["baseline"]
        found, ours = result["ratios"]["baseline"], result["tok_s"]["realizar"]
        assert found["pairs"] == [a / b for a, b in zip(ours, result["tok_s"]["baseline"], strict=True)]
        assert (found["low"], found["high"]) == (min(found["pairs"]), max(found["pairs"]))
        assert found["confidence"] == 1 - 2 / 2**6


def test_the_table_has_a_row_per_peer(baseline):
    done = compare(*SIZES, "-r", "1", "--baseline", baseline, "--no-llama")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "baseline" in line]
    assert len(rows) == 2
    assert "llama.cpp" not in done.stdout


def test_a_build_is_not_compared_with_itself():
    here = Path(sys.executable).parent.parent
    if not (here / "bin" / "python").is_file():
        pytest.skip(f"{here} has no bin/python")
    done = compare(*SIZES, "-r", "1", "--baseline", here, "--no-llama")
    assert done.returncode == 1
    assert "the same build that it is compared with" in done.stderr


def test_errors(tmp_path):
    assert "nothing to compare with" in compare("--no-llama").stderr
    assert "is not a virtual environment" in compare("--no-llama", "--baseline", tmp_path).stderr
    assert "invalid choice" in compare("--activations", "int3").stderr


@pytest.fixture
def median_interval(monkeypatch):
    monkeypatch.syspath_prepend(os.fspath(ROOT / "asv_bench"))
    from intervals import median_interval

    return median_interval


@pytest.mark.parametrize(
    ("n", "k", "confidence"),
    [(6, 1, 0.96875), (7, 1, 0.984375), (9, 2, 0.9609375), (15, 4, 0.96484375), (25, 8, 0.9567), (100, 40, 0.9648)],
)
def test_the_interval_of_a_median(median_interval, n, k, confidence):
    """The order statistics that textbooks tabulate for the binomial distribution."""
    found = median_interval([float(x) for x in range(n, 0, -1)])
    assert found.median == (n + 1) / 2
    assert (found.low, found.high) == (k, n + 1 - k)
    assert found.confidence == pytest.approx(confidence, abs=1e-4)


def test_the_interval_of_too_few_values(median_interval):
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.low, found.median, found.high, found.confidence) == (1.0, 2.0, 3.0, 0.75)
    found = median_interval([5.0])
    assert (found.low, found.high, found.confidence) == (5.0, 5.0, 0.0)


def test_a_lower_confidence_is_a_narrower_interval(median_interval):
    values = [float(x) for x in range(1, 16)]
    assert median_interval(values, 0.5).low > median_interval(values, 0.95).low
