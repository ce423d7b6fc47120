"""Threads and processes around the thread pool: forks, oversubscription, quotas, affinity masks, many callers."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from realizar import LLM
from realizar.backends.cpu import backend
from realizar.backends.cpu.threads import default_threads
from tests.limits.models import LLAMA, QWEN2, SMOLLM2, real
from tests.limits.scripts import EXPECTED, HEAD, run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_taskset = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")


@pytest.fixture(
    scope="module", params=["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen2", SMOLLM2))]
)
def path(request):
    return {"llama": LLAMA, "qwen2": QWEN2}.get(request.param) or real(request.param)


@pytest.fixture(scope="module")
def expected(path, tmp_path_factory):
    return run(tmp_path_factory.mktemp("expected"), EXPECTED.removeprefix(HEAD), path)


FORK = """
llm = LLM(path, n_threads=2)
assert texts(llm) == expected
for generation in range(2):  # a child, and a child of the child
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        break
    assert texts(llm) == expected
assert texts(llm) == expected
with LLM(path, n_threads=2) as other:
    assert texts(other) == expected
llm.close()
print("true")
"""

# Fork while threads are in a step: the child lacks those threads, so its LLM works or raises an error that says so.
FORK_IN_STEP = """
import time
from realizar.errors import RealizarError
llm = LLM(path, n_threads=2)
assert texts(llm) == expected
busy = [threading.Thread(target=lambda: [texts(llm) for _ in range(4)]) for _ in range(3)]
for thread in busy:
    thread.start()
for i in range(6):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        try:
            right = texts(llm) == expected
        except RealizarError as error:
            right = "forked while another thread computed" in str(error) and texts(LLM(path)) == expected
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0, i
for thread in busy:
    thread.join()
assert texts(llm) == expected
print("true")
"""

MULTIPROCESSING = """
import multiprocessing

def ask(seed):
    global llm
    if llm is None:
        llm = LLM(path, n_threads=2)
    return texts(llm) == expected

llm = None
if __name__ == "__main__":
    method = {method!r}
    if method == "fork":
        llm = LLM(path, n_threads=2)
        assert texts(llm) == expected
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(ask, range(4)) == [True] * 4
    print("true")
"""

FOUR_LLMS = """
found = {}

def ask(i):
    with LLM(path, n_threads=2) as llm:
        found[i] = [texts(llm) for _ in range(2)]

def ask_shared(i):
    found[i] = [texts(shared) for _ in range(2)]

for target in (ask, ask_shared):
    shared = LLM(path, n_threads=2)
    threads = [threading.Thread(target=target, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[i] == [expected] * 2 for i in range(4)), found
print("true")
"""

COUNT = """
llm = LLM(path)
assert texts(llm) == expected
print(llm.engine.runner.n_threads)
"""

MORE_THREADS = """
assert texts(LLM(path, n_threads={n_threads})) == expected
print("true")
"""

# Functions registered before the engine's own run after it; finalizers of globals run last.
AT_THE_END = """
import atexit
from realizar.engine import loop
atexit.unregister(loop._end_loops)
atexit.register(lambda: print(json.dumps(texts(llm) == expected), flush=True))
atexit.register(loop._end_loops)

class Closes:
    def __del__(self):
        self.llm.close()

llm, closes = LLM(path, n_threads=1), Closes()
closes.llm = llm
{first}
"""


@pytest.mark.parametrize("first", ["", "texts(llm)"])
def test_the_engine_is_used_when_python_ends(path, expected, tmp_path, first):
    """That used to hang, since the thread that runs the steps had ended."""
    assert run(tmp_path, AT_THE_END.replace("{first}", first), path, expected)


@needs_fork
def test_fork_after_generate(path, expected, tmp_path):
    assert run(tmp_path, FORK, path, expected)


@needs_fork
def test_fork_while_threads_step(path, expected, tmp_path):
    assert run(tmp_path, FORK_IN_STEP, path, expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(path, expected, tmp_path, method):
    if method == "fork" and sys.platform in ("win32", "darwin"):
        pytest.skip(f"multiprocessing does not fork on {sys.platform}")
    assert run(tmp_path, MULTIPROCESSING.replace("{method!r}", repr(method)), path, expected)


def test_four_llms_with_four_threads_each(path, expected, tmp_path):
    assert run(tmp_path, FOUR_LLMS, path, expected)


@needs_taskset
@pytest.mark.parametrize(("cpus", "n_threads"), [(2, 3), (1, 2), (1, 4)])
def test_more_threads_than_cpus(path, expected, tmp_path, cpus, n_threads):
    available = sorted(os.sched_getaffinity(0))[:cpus]
    mask = ["taskset", "-c", ",".join(map(str, available))]
    assert run(tmp_path, MORE_THREADS.format(n_threads=n_threads), path, expected, mask)


@needs_taskset
def test_an_affinity_mask_of_one_cpu_is_respected(path, expected, tmp_path):
    mask = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    assert run(tmp_path, COUNT, path, expected, mask) == 1


def test_openmp_variables_are_ignored(path, expected, tmp_path):
    foreign = {"OMP_NUM_THREADS": "7", "OMP_PROC_BIND": "true", "MKL_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "7"}
    assert run(tmp_path, COUNT, path, expected, **foreign) == default_threads().n


def test_a_quota_in_fake_cgroups(tmp_path, monkeypatch):
    files = {
        "proc/self/cgroup": "0::/job\n",
        "proc/self/mountinfo": "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/job/cpu.max": "50000 100000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(backend, "default_threads", lambda: default_threads(tmp_path))
    with LLM(LLAMA) as llm:
        assert llm.engine.runner.n_threads == 1


@pytest.fixture
def one_cpu_group():
    """A real cgroup (version 1 or 2) with a quota of one CPU."""
    for root, files in (
        (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
        (Path("/sys/fs/cgroup"), {"cpu.max": "100000 100000"}),
    ):
        group = root / f"realizar-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if all((group / name).exists() for name in files):
                for name, text in files.items():
                    (group / name).write_text(text)
                yield group
                return
        finally:
            group.rmdir()
    pytest.skip("no cgroup with a CPU quota can be made here (that takes root)")


def test_a_real_quota(path, expected, tmp_path, one_cpu_group):
    into = ["sh", "-c", f'echo $$ > {one_cpu_group}/cgroup.procs && exec "$@"', "sh"]
    assert run(tmp_path, COUNT, path, expected, into) == 1
