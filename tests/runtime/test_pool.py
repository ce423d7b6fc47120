"""The thread pool, driven by a C harness under the sanitizers; the scenarios stand in tests/native/pool_harness.c."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.native import build, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the harness speaks POSIX (fork, pthread)")

STEADY = ["steps", "callers", "float_mode", "lives"]
SCENARIOS = {
    "thread": STEADY,  # a program under this sanitizer may not start threads after a fork
    "address,undefined": [*STEADY, "forks"],  # gcc's address sanitizer forks with its allocator's locks held
    "undefined": [*STEADY, "forks", "forks_in_step"],
}


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda name: name.replace(",", "-"))
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, build(tmp_path_factory.mktemp("pool"), "pool_harness", ["pool.c"], request.param)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])  # 3 and 7 are more than the CPUs of a small machine
def test_scenarios(harness: tuple[str, Path], n_threads: int) -> None:
    sanitizer, program = harness
    for scenario in SCENARIOS[sanitizer]:
        run(program, scenario, str(n_threads))
