"""Writes the verification matrix, docs/verification.md, from docs/requirements.md and docs/verification.json.

    python tools/verification.py [--check]

--check also says which tests of the matrix do not exist. Results are recorded in the JSON file by who made the check.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/verification.md"
HEAD = """# Verification

Written by `tools/verification.py` from [the requirements](requirements.md) and `docs/verification.json`;
`tests/meta/test_verification.py` checks that every test exists.
A test named without a function stands for its whole file.

| id | requirement | automated test | manual check | last result |
|---|---|---|---|---|
"""


class Row(TypedDict):
    """How one requirement is verified; tests are FILE::FUNCTION, or FILE:: for a whole file."""

    id: str
    tests: list[str]
    manual: str
    result: str


def requirements() -> dict[str, str]:
    """Return the requirements by their id."""
    return dict(re.findall(r"^\| (R\d+) \| (.+) \|$", (ROOT / "docs/requirements.md").read_text(), re.MULTILINE))


def rows() -> list[Row]:
    """Return the rows of the matrix."""
    found: list[Row] = json.loads((ROOT / "docs/verification.json").read_text())
    return found


def page() -> str:
    """Return the page."""
    texts = requirements()
    lines = []
    for row in rows():
        tests = ", ".join(f"`{test.removesuffix('::')}`" for test in row["tests"]) or "none"
        lines.append(f"| {row['id']} | {texts[row['id']]} | {tests} | {row['manual'] or 'none'} | {row['result']} |\n")
    return HEAD + "".join(lines)


def faults() -> Iterator[str]:
    """Yield what is wrong with the matrix."""
    ids = [row["id"] for row in rows()]
    if ids != list(requirements()):
        yield f"requirements are {list(requirements())}, rows {ids}"
    for row in rows():
        if not row["tests"] and not row["manual"]:
            yield f"{row['id']}: nothing verifies it"
        for test in row["tests"]:
            file, _, function = test.partition("::")
            path = ROOT / file
            if not path.is_file() or (function and f"def {function}(" not in path.read_text()):
                yield f"{row['id']}: there is no test {test}"


def main(words: list[str]) -> int:
    """Write the page, or check it; returns the exit status."""
    found = list(faults())
    if words == ["--check"] and not found and (not PAGE.is_file() or PAGE.read_text() != page()):
        found = ["docs/verification.md is outdated; run python tools/verification.py"]
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    if words != ["--check"]:
        PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
