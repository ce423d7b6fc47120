"""No result of a test depends on a clock: a slow machine is no fault. Every use of one is found and must be named here.

Time that the library measures is counted instead (calls, imports, bytes, steps), moved by tests/clocks.py, or measured
in asv_bench/.
"""

import re

import hypothesis
import pytest

from tests.meta.house import ROOT, C, name, sources

CLOCKS = re.compile(
    r"""\bimport\s+(?:\w+,\s*)*(?:time|timeit|datetime)\b | \bfrom\s+(?:time|timeit|datetime)\s+import
    | \btime\.\w+\(\) | \bsleep\( | \bclock_gettime\b | \bgetrusage\b | \bcpu_times\b
    | \bstrftime\( | \btimeout\b | \balarm\( | \bdeadline=(?!None) | \btoo_slow\b
    | \.(?:wait|join|acquire)\(\s*(?:timeout|[\d.]+\s*\)) | \bnanosleep\b | \busleep\b""",
    re.VERBOSE,
)
ALLOWED = {
    "tests/clocks.py": "the clocks that tests move; wait_until sleeps between two looks and goes on for ever",
    "tests/conftest.py": "switches hypothesis' limits on time off",
    "tests/limits/scripts.py": "a script that hangs is asked where, just before pytest's own limit on hanging tests",
    "tests/limits/test_forks.py": "forks at chance moments of what other threads do, each of which must be right",
    "tests/limits/test_processes.py": "forks at chance moments of a step, each of which must be right",
    "tests/meta/test_clocks.py": "this list",
    "tests/native/pool_harness.c": "a child in a deadlock ends after pytest's own limit would have left it behind",
    "tests/native/rates_harness.c": "measures rates for tests that `pytest -m timing` alone runs",
    "tests/peers/test_greedy.py": "lets the comparison with llama.cpp take longer than pytest's own limit",
    "tests/sampling/grammar/suite.py": "a download that does not come is given up; the test is skipped then",
    "tests/sampling/grammar/test_exit.py": "sleeps, so that a wrong end is likely to be seen; a right one waits",
    "tests/tokenizer/test_chat.py": "a fixed date in place of today's",
}


def uses(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [f"{name(path)}:{i}: {line.strip()}" for i, line in enumerate(lines, 1) if CLOCKS.search(line)]


@pytest.mark.parametrize("path", sources(".py", *C, folders=("tests",)), ids=name)
def test_no_clock_is_read(path):
    if name(path) not in ALLOWED:
        assert uses(path) == []


@pytest.mark.parametrize("path", ALLOWED)
def test_what_is_allowed_is_there(path):
    assert uses(ROOT / path)


@pytest.mark.parametrize(
    "line",
    [
        "import json, time", "from time import sleep", "begin = time.time()", "time.perf_counter_ns()", "sleep(0.1)",
        "done = run(code, timeout=60)", "event.wait(5)", "thread.join(0.5)", "@settings(deadline=200)",
        "lock.acquire(timeout=1)", "from datetime import datetime",
    ],
)  # fmt: skip
def test_a_clock_is_found(line):
    assert CLOCKS.search(line)


@pytest.mark.parametrize(
    "line", ["engine.wait(lambda: request.is_over)", "','.join(['a'])", "deadline=None", "event.wait()"]
)
def test_what_is_none_is_not(line):
    assert not CLOCKS.search(line)


def test_hypothesis_has_no_deadline():
    assert hypothesis.settings().deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings().suppress_health_check
