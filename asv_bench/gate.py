"""The regression gate: the benchmarks of two commits, run in turn on this machine; what has become worse fails.

    pip install '.[dev]' && cd asv_bench && asv machine --yes
    python gate.py main HEAD
    python gate.py main HEAD --bench Decode

asv builds both commits and runs their benchmarks interleaved, so that a drift of the machine meets both. Then

- a time or a peak of memory may be at most 5 % greater: the ratio of the two medians counts, where the 99 % intervals
  of the two do not touch (where they do, the run cannot tell them apart);
- a number that is counted (`track_*`) must be equal; one that is meant to change says so in its commit, and is accepted
  with `--changed NAME`;
- a benchmark that has run must run again.

One that only one of the two commits has, or that skips, is no matter of the gate.
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
MOST = 1.05


@dataclass(frozen=True)
class Value:
    """A result: its number (None: it failed), and between what it lies with 99 % confidence (None: one sample)."""

    number: float | None
    low: float | None
    high: float | None


Results = dict[tuple[str, ...], Value]


def judge(before: Results, after: Results, changed: list[str]) -> list[str]:
    """What has become worse, one line each.

    Parameters
    ----------
    before, after : dict
        (name, parameters ...) -> Value.
    changed : list of str
        Parts of names of `track_*` that may change.
    """
    worse = []
    for key in sorted(before.keys() & after.keys()):
        old, new = before[key], after[key]
        name = " ".join(key)
        if old.number is None:
            continue
        if new.number is None:
            worse.append(f"{name}: it fails, or takes too long")
        elif _is_counted(key[0]):
            if old.number != new.number and not any(part in name for part in changed):
                worse.append(f"{name}: {old.number:g} has become {new.number:g}")
        elif new.number > MOST * old.number and not _touch(old, new):
            worse.append(f"{name}: {new.number / old.number:.2f} x ({old.number:.3g} has become {new.number:.3g})")
    return worse


def read(folder: Path, commit: str) -> Results:
    """The results of a commit in a folder of asv's: FOLDER/MACHINE/COMMIT-ENVIRONMENT.json, as asv 0.6 lays them out.

    Raises
    ------
    SystemExit
        If there is not exactly one such file.
    """
    files = sorted(folder.glob(f"*/{commit[:8]}-*.json"))
    if len(files) != 1:
        sys.exit(f"{folder} has {len(files)} results of {commit[:8]}; one is needed")
    stored = json.loads(files[0].read_text())
    out: Results = {}
    for name, row in stored["results"].items():
        columns = dict(zip(stored["result_columns"], row, strict=False))
        keys = list(product(*columns.get("params") or []))
        for i, key in enumerate(keys):
            value, low, high = (_item(columns.get(c), i) for c in ("result", "stats_ci_99_a", "stats_ci_99_b"))
            if value == value:  # asv writes NaN for one that was skipped
                out[(name, *key)] = Value(value, low, high)
    return out


def _item(column: list[Any] | None, i: int) -> float | None:
    return None if not column else column[i]


def _is_counted(name: str) -> bool:
    return name.rpartition(".")[2].startswith("track_")


def _touch(old: Value, new: Value) -> bool:
    return old.high is not None and new.low is not None and new.low <= old.high


def _hash(revision: str) -> str:
    command = ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"]
    done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{revision}: a commit is needed; git says: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    """Run both commits' benchmarks and judge; 1 if something has become worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit to compare with")
    parser.add_argument("after", help="commit that is to pass")
    parser.add_argument("--bench", action="append", default=[], help="part of the names of benchmarks to run")
    parser.add_argument("--changed", action="append", default=[], help="part of the names of track_* that may change")
    args = parser.parse_args()
    before, after = _hash(args.before), _hash(args.after)
    command = ["asv", "continuous", "--interleave-rounds", "--show-stderr", before, after]
    subprocess.run([*command, *(f"--bench={name}" for name in args.bench)], cwd=HERE, check=False)
    worse = judge(read(HERE / "results", before), read(HERE / "results", after), args.changed)
    print("\n".join(["worse:", *worse] if worse else ["nothing has become worse"]))
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
