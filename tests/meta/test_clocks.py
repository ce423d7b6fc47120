"""No test result depends on a clock, so a slow machine fails nothing; every use of a clock must be listed here.

Tests count calls, imports, bytes or steps instead of measuring time, move a clock of tests/clocks.py, or leave the
measuring to asv_bench/.
"""

import re

import hypothesis
import pytest

from tests.meta.house import ROOT, C, name, offenders, sources, text

CLOCKS = re.compile(
    r"""\bimport\s+(?:\w+,\s*)*(?:time|timeit|datetime)\b | \bfrom\s+(?:time|timeit|datetime)\s+import
    | \btime\.\w+\(\) | \bsleep\( | \bclock_gettime\b | \bgetrusage\b | \bcpu_times\b
    | \bstrftime\( | \btimeout\b | \balarm\( | \bdeadline=(?!None) | \btoo_slow\b
    | \.(?:wait|join|acquire)\(\s*(?:timeout|[\d.]+\s*\)) | \bnanosleep\b | \busleep\b""",
    re.VERBOSE,
)
ALLOWED = {
    "tests/clocks.py": "the clocks that tests move; wait_until polls for ever",
    "tests/backends/test_wgpu_threads.py": "lets other threads run before a function returns, so that a race is likely",
    "tests/cli/test_chat_terminal.py": "switches the time limit of pexpect off",
    "tests/conftest.py": "switches hypothesis' time limits off",
    "tests/contrib/ray/test_serve.py": "switches the time limit of an HTTP client off",
    "tests/limits/scripts.py": "dumps the stacks of a script that hangs, just before pytest's own time limit",
    "tests/limits/test_forks.py": "forks at random moments of what other threads do, each of which must be right",
    "tests/limits/test_processes.py": "forks at random moments of a step, each of which must be right",
    "tests/meta/test_clocks.py": "this list",
    "tests/native/pool_harness.c": "ends a child in a deadlock after pytest's own time limit",
    "tests/native/rates_harness.c": "measures rates for tests that only `pytest -m timing` runs",
    "tests/peers/test_greedy.py": "gives the comparison with llama.cpp more time than pytest's own limit",
    "tests/peers/test_quality.py": "gives the programs of llama.cpp more time than pytest's own limit",
    "tests/sampling/grammar/suite.py": "gives up a download that does not come and skips the test",
    "tests/sampling/grammar/test_exit.py": "sleeps, so that a premature end is likely to be seen; a right one waits",
    "tests/pictures/test_reading.py": "sets the time limit for a picture that never arrives",
    "tests/server/serving.py": "switches the time limit of an HTTP client off",
    "tests/server/test_connections.py": "sets the server's time limit for a head that never comes",
    "tests/server/test_middleware.py": "sets the server's time limit for a body that never comes",
    "tests/server/test_models.py": "sets the server's time limit for a load and for room that never come",
    "tests/server/test_server.py": "sets the server's time limit to a microsecond while its engine is held",
    "tests/server/test_settings.py": "names the option timeout, whose values it checks",
    "tests/server/test_signals.py": "switches the time limit of an HTTP client off",
    "tests/tools/soak_clients.py": "reads slowly; gives a server's answers more time than they ever need",
    "tests/tools/soak_server.py": "runs for a given time, in which it measures what `.ci/full soak_server` judges",
    "tests/web/conftest.py": "switches the time limits of Playwright off",
    "tests/tokenizer/test_chat.py": "a fixed date in place of today's",
}


def uses(path):
    return [f"line {i}: {line.strip()}" for i, line in enumerate(text(path).splitlines(), 1) if CLOCKS.search(line)]


def test_no_clock_is_read():
    paths = [p for p in sources(".py", *C, folders=("tests",)) if name(p) not in ALLOWED]
    assert offenders(paths, uses) == []


def test_every_allowed_use_exists():
    assert [path for path in ALLOWED if not uses(ROOT / path)] == []


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
def test_other_uses_of_the_words_are_not_clocks(line):
    assert not CLOCKS.search(line)


def test_hypothesis_has_no_deadline():
    assert hypothesis.settings().deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings().suppress_health_check
