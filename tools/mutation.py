"""Mutation testing of Python modules with cosmic-ray: which changes of the code no test notices.

    pip install '.[mutation]' && python setup.py build_ext --inplace && python tools/mutation.py [MODULE...]

Each mutant is a copy of the tree with one operator, comparison or number changed; the tests of the module run against
it until one fails. Mutants of annotations, which never run, are left out. The last lines are the score and the
survivors; docs/mutation.md has those of the last run, with the reason of each that stays. `tools/mutate_c.py` is the
same for the headers of the kernels. Takes minutes for each module: a stage of `.ci/full`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult
from mutants import ROOT, annotation_places, copy_tree

TARGETS = {
    "realizar/engine/cache/block_pool.py": "tests/engine/test_block_pool.py",
    "realizar/engine/scheduler.py": "tests/engine/test_scheduler.py tests/engine/test_preemption.py",
    "realizar/sampling/dry.py": "tests/sampling/test_samplers.py",
    "realizar/sampling/mirostat.py": "tests/sampling/test_samplers.py",
    "realizar/sampling/stop.py": "tests/sampling/test_stop.py",
    "realizar/gguf/file.py": "tests/gguf/test_file.py tests/gguf/test_bad_files.py tests/gguf/test_damage.py",
    "realizar/gguf/split.py": "tests/gguf/test_split.py",
}
"""Module -> the tests that are to notice."""
GOAL = 0.8
CONFIG = """[cosmic-ray]
module-path = "{module}"
timeout = 120.0
excluded-modules = []
test-command = "python -m pytest -x -q -n 0 -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def skip_annotations(db: WorkDB, source: str) -> None:
    """Record the mutants of annotations as skipped."""
    places = annotation_places(source)
    for item in list(db.pending_work_items):
        if tuple(item.mutations[0].start_pos) in places:
            db.set_result(item.job_id, WorkResult(output="annotation", worker_outcome=WorkerOutcome.SKIPPED))


def describe(item: WorkItem, source: list[str]) -> str:
    """Return the place, the kind and the line of a mutant."""
    mutation = item.mutations[0]
    row = mutation.start_pos[0]
    name = mutation.operator_name.removeprefix("core/")
    return f"  {row}:{mutation.start_pos[1]} {name} #{mutation.occurrence}: {source[row - 1].strip()}"


def mutate(module: str, tests: str) -> float:
    """Run all mutants of a module, print the score and the survivors, and return the score."""
    source = (ROOT / module).read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        (folder / "mutation.toml").write_text(CONFIG.format(module=module, tests=tests))
        subprocess.run(["cosmic-ray", "baseline", "mutation.toml"], cwd=folder, check=True)
        subprocess.run(["cosmic-ray", "init", "mutation.toml", "mutation.sqlite"], cwd=folder, check=True)
        with use_db(folder / "mutation.sqlite", WorkDB.Mode.open) as db:
            skip_annotations(db, source)
        subprocess.run(["cosmic-ray", "exec", "mutation.toml", "mutation.sqlite"], cwd=folder, check=True)
        with use_db(folder / "mutation.sqlite", WorkDB.Mode.open) as db:
            results = dict(db.results)
            ran = [item for item in db.work_items if results[item.job_id].worker_outcome != WorkerOutcome.SKIPPED]
            survivors = [item for item in ran if results[item.job_id].test_outcome == TestOutcome.SURVIVED]
    score = 1 - len(survivors) / max(1, len(ran))
    print(f"{module}: {len(ran) - len(survivors)} of {len(ran)} mutants killed, {score:.1%}", flush=True)
    for item in survivors:
        print(describe(item, source.splitlines()), flush=True)
    return score


def main(words: list[str]) -> int:
    """Mutate the modules that are named, or all; returns 1 if one misses the goal."""
    if unknown := set(words) - TARGETS.keys():
        raise SystemExit(f"{', '.join(unknown)}: no target; the targets are {', '.join(TARGETS)}")
    scores = [mutate(module, TARGETS[module]) for module in words or TARGETS]
    return int(min(scores) < GOAL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
