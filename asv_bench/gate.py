"""The regression gate: runs the benchmarks of two commits interleaved on this machine, and fails on regressions.

    pip install '.[dev]' && cd asv_bench && asv machine --yes
    python gate.py main HEAD
    python gate.py main HEAD --bench Decode

asv builds both commits and runs their benchmarks interleaved, so that drift of the machine affects both. Then

- times and peak memory may increase by at most 5 %: the ratio of the medians, if the 99 % intervals do not overlap (if
  they do, the difference is not significant);
- counted values (`track_*`) must be equal; an intended change is noted in its commit and accepted with
  `--changed NAME`;
- a benchmark that ran before must still run.

Benchmarks that exist in only one commit, or are skipped, are ignored.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MAX_RATIO = 1.05


@dataclass(frozen=True)
class Value:
    """A result: its value (None if it failed), and its 99 % confidence interval (None with one sample)."""

    number: float | None
    low: float | None
    high: float | None


Results = dict[tuple[str, ...], Value]


def judge(before: Results, after: Results, changed: list[str]) -> list[str]:
    """Return the regressions, one line each.

    Parameters
    ----------
    before, after : dict
        (name, parameters ...) -> Value.
    changed : list of str
        Substrings of `track_*` names that may change.
    """
    worse = []
    for key in sorted(before.keys() & after.keys()):
        old, new = before[key], after[key]
        name = " ".join(key)
        if old.number is None:
            continue
        if new.number is None:
            worse.append(f"{name}: fails or times out")
        elif _is_counted(key[0]):
            if old.number != new.number and not any(part in name for part in changed):
                worse.append(f"{name}: {old.number:g} has become {new.number:g}")
        elif new.number > MAX_RATIO * old.number and not _overlap(old, new):
            worse.append(f"{name}: {new.number / old.number:.2f} x ({old.number:.3g} has become {new.number:.3g})")
    return worse


def read(folder: Path, commit: str) -> Results:
    """Read the results of a commit from asv's folder: FOLDER/MACHINE/COMMIT-ENVIRONMENT.json (asv 0.6).

    Raises
    ------
    SystemExit
        If there is not exactly one such file.
    """
    files = sorted(folder.glob(f"*/{commit[:8]}-*.json"))
    if len(files) != 1:
        sys.exit(f"{folder} has {len(files)} results of {commit[:8]}, but must have one")
    stored = json.loads(files[0].read_text())
    out: Results = {}
    for name, row in stored["results"].items():
        columns = dict(zip(stored["result_columns"], row, strict=False))
        keys = list(product(*columns.get("params") or []))
        for i, key in enumerate(keys):
            value, low, high = (_item(columns.get(c), i) for c in ("result", "stats_ci_99_a", "stats_ci_99_b"))
            if value == value:  # NaN: skipped
                out[(name, *key)] = Value(value, low, high)
    return out


def _item(column: list[Any] | None, i: int) -> float | None:
    return None if not column else column[i]


def _is_counted(name: str) -> bool:
    return name.rpartition(".")[2].startswith("track_")


def _overlap(old: Value, new: Value) -> bool:
    return old.high is not None and new.low is not None and new.low <= old.high


def _hash(revision: str) -> str:
    command = ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"]
    done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{revision}: is not a commit; git says: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    """Run the benchmarks of both commits; returns 1 if there are regressions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit to compare with")
    parser.add_argument("after", help="commit to check")
    parser.add_argument("--bench", action="append", default=[], help="substring of benchmark names to run")
    parser.add_argument("--changed", action="append", default=[], help="substring of track_* names that may change")
    args = parser.parse_args()
    before, after = _hash(args.before), _hash(args.after)
    command = ["asv", "continuous", "--interleave-rounds", "--show-stderr", before, after]
    subprocess.run([*command, *(f"--bench={name}" for name in args.bench)], cwd=HERE, check=False)
    worse = judge(read(HERE / "results", before), read(HERE / "results", after), args.changed)
    print("\n".join(["regressions:", *worse] if worse else ["no regressions"]))
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
