"""The thread pool: a C harness under the sanitizers (its scenarios: tests/native/pool_harness.c), then from Python."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from realizar._kernels.plan import Pool, Program
from tests.native import build, run

ROOT = Path(__file__).parents[2]  # for `tests`; appended, since `realizar` there may have no compiled modules
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")

STEADY = ["steps", "callers", "float_mode", "lives", "stops"]
SCENARIOS = {
    "thread": STEADY,  # a program under this sanitizer may not start threads after a fork
    "address,undefined": [*STEADY, "forks"],  # gcc's address sanitizer forks with its allocator's locks held
    "undefined": [*STEADY, "forks", "forks_in_step"],
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == "undefined" else pytest.mark.slow) for name in SCENARIOS],
    ids=lambda name: name.replace(",", "-"),
)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, build(tmp_path_factory.mktemp("pool"), "pool_harness", ["pool.c"], request.param)


@needs_fork
@pytest.mark.parametrize(
    "n_threads", [1, 2, 3, pytest.param(7, marks=pytest.mark.slow)]
)  # 3 and 7 are more than the CPUs of a small machine
def test_scenarios(harness: tuple[str, Path], n_threads: int) -> None:
    sanitizer, program = harness
    for scenario in SCENARIOS[sanitizer]:
        run(program, scenario, str(n_threads))


# ---- from Python: a program of 40 dependent ops, a barrier after each ----

N_ROWS, N_ROW, N_OPS = 64, 16, 40


class Fibonacci:
    """a, b = b, a + b in each pair of ops: wrong if a worker runs ahead."""

    def __init__(self, pool: Pool):
        self.arena = np.zeros(2 * N_ROWS * N_ROW * 4 + 64, np.uint8)
        self.arena = self.arena[-self.arena.ctypes.data % 64 :][: 2 * N_ROWS * N_ROW * 4]
        self.a, self.b = self.arena.view(np.float32).reshape(2, N_ROWS, N_ROW)
        self.program = Program(pool, self.arena, N_ROWS)
        a, b = (0, N_ROW), (N_ROWS * N_ROW * 4, N_ROW)
        for i in range(N_OPS):
            self.program.add_rowwise("add", N_ROW, x=a, x2=b, y=a if i % 2 else b)

    def is_right(self) -> bool:
        """Run it once."""
        self.a[:], self.b[:] = 1, 0
        rows, one = np.zeros(N_ROWS, np.int32), np.zeros(1, np.int32)
        ends = np.array([0, N_ROWS], np.int32)
        self.program.run(rows, rows[None], ends, one, one, rows[:0], ())
        x, y = 1, 0
        for i in range(N_OPS):
            x, y = (x + y, y) if i % 2 else (x, x + y)
        # beyond 2**24 float32 rounds, the same everywhere
        return len(np.unique(self.a)) == 1 and self.a[0, 0] == pytest.approx(x, rel=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_a_program_runs_in_lock_step(n_threads: int) -> None:
    fibonacci = Fibonacci(Pool(n_threads))
    assert all(fibonacci.is_right() for _ in range(50))


def test_four_python_threads_share_a_pool() -> None:
    pool = Pool(3)
    right = [0] * 4

    def work(i: int) -> None:
        fibonacci = Fibonacci(pool)
        right[i] = sum(fibonacci.is_right() for _ in range(50))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [50] * 4


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_its_own_workers() -> None:
    fibonacci = Fibonacci(Pool(3))
    assert fibonacci.is_right()
    child = os.fork()
    if child == 0:
        os._exit(0 if fibonacci.is_right() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert fibonacci.is_right()


COUNT_THREADS = """
import os
from tests.clocks import wait_until
from tests.runtime.test_pool import Fibonacci, Pool
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
pool = Pool(3)
assert count() == before, "threads before the first step"
assert Fibonacci(pool).is_right()
assert count() == before + 2, "the caller is one of three"
pool.stop()
wait_until(lambda: count() == before)  # threads are given back; a joined one may stay listed for a moment
assert Fibonacci(pool).is_right()
assert count() == before + 2, "a stopped pool starts again"
del pool
wait_until(lambda: count() == before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads in /proc")
@pytest.mark.parametrize("omp", ["", "1", "16"])
def test_threads_start_with_the_first_step_and_end_when_the_pool_stops(omp: str) -> None:
    """OMP_NUM_THREADS has no effect."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS],
        env={**os.environ, "OMP_NUM_THREADS": omp, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
