"""Every lock that the package makes is one that fork() knows, or is listed here with the reason why it need not."""

import ast

import pytest

from tests.meta.house import ROOT, name, offenders, sources, text

KINDS = {
    "threading": {"Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier", "Timer", "local"},
    "queue": {"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"},
    "functools": {"cached_property"},  # Python 3.11's has a lock for all instances
    "multiprocessing": {"Lock", "RLock", "Condition", "Event", "Semaphore", "Queue", "Pool"},
    "concurrent.futures": {"ThreadPoolExecutor", "ProcessPoolExecutor"},
}
# file -> what it makes, how often, and why no thread of a child of fork() ever waits for one that its parent's held.
KNOWN = {
    "realizar/engine/engine.py": ["Condition"] * 2,  # recreated by `_after_fork`
    "realizar/engine/loop.py": [
        "Lock",  # of a waiting thread: `_after_fork` ends the wait of the one that forked
        "SimpleQueue",
        "SimpleQueue",  # of the loop's thread: a child has a new one
    ],
    "realizar/engine/handle.py": ["SimpleQueue"],  # a child's loop, the only writer, never waits for it
    "realizar/sampling/grammar/worker.py": [
        "Lock",  # of a job: `result` says in a child that it will never be done
        "SimpleQueue",  # recreated by `_begin`
    ],
    "realizar/backends/wgpu/weights.py": ["ThreadPoolExecutor"],  # uploads; a child has no device for one
    "realizar/backends/wgpu/device.py": ["ThreadPoolExecutor"],  # compiles kernels; a child cannot use the device
    "realizar/backends/wgpu/native.py": ["Event"],  # a child cannot use the device
    "realizar/pictures/deadline.py": ["SimpleQueue", "Timer"],  # of one download, which a child does not go on with
    "realizar/server/run.py": ["ThreadPoolExecutor"],  # of the event loop, which does not run in a child
    "realizar/cli/batch_run.py": ["Semaphore"],  # bounds the requests in flight of one command, which forks nothing
    "realizar/planning/machine.py": ["Barrier", "SimpleQueue"],  # of one measurement, which forks nothing
    "realizar/_kernels/plan.pyx": ["Lock"],  # of a program: the engine rebinds programs if a thread was in a step
}


def made(code):
    """Names of the locks that a Python file makes; those of a Cython file are found by their text."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return [kind for kind in KINDS["threading"] for _ in range(code.count(f"threading.{kind}("))]
    names = {kind: kind for kinds in KINDS.values() for kind in kinds}
    own = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in KINDS
        for alias in node.names
        if alias.name in KINDS[node.module]
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            what = node.func.value if isinstance(node.func, ast.Subscript) else node.func
            if isinstance(what, ast.Name) and what.id in own:
                found.append(names.get(what.id, what.id))
            if isinstance(what, ast.Attribute) and isinstance(what.value, ast.Name) and what.value.id in KINDS:
                found += [what.attr] if what.attr in KINDS[what.value.id] else []
        if isinstance(node, ast.FunctionDef):
            found += [d.id for d in node.decorator_list if isinstance(d, ast.Name) and d.id in own]
    return sorted(found)


def unexpected_locks(path):
    found, known = made(text(path)), sorted(KNOWN.get(name(path), []))
    return [] if found == known else [f"makes {found}; KNOWN has {known}"]


def test_every_lock_is_known_to_fork():
    assert offenders(sources(".py", ".pyx", folders=("realizar", "plugins")), unexpected_locks) == []


def test_every_file_with_known_locks_exists():
    assert [path for path in KNOWN if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import threading\nx = threading.Lock()", ["Lock"]),
        ("from threading import Condition as C\nx = C()", ["C"]),
        ("from queue import SimpleQueue\nx = SimpleQueue[int]()", ["SimpleQueue"]),
        (
            "from functools import cached_property\nclass A:\n    @cached_property\n    def b(self): ...",
            ["cached_property"],
        ),
        ("from realizar.forks import Lock, cached_property\nx = Lock()\n@cached_property\ndef f(): ...", []),
        ("cdef class A:\n    x = threading.RLock()", ["RLock"]),
    ],
)
def test_locks_are_found(code, found):
    assert made(code) == found
