"""The source files that the tests of the house rules look at, and how they report offenders."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CYTHON = {".pyx", ".pxd", ".pxi"}
C = {".c", ".h"}
WEB = {".ts", ".tsx", ".mjs", ".css"}
_FOLDERS = ("realizar", "plugins", "tests", "tools", "asv_bench")
_OUTPUTS = {"build", "env", "dist", "node_modules"}
_GENERATED = {p.with_suffix(".c") for p in (ROOT / "realizar/_kernels").rglob("*.pyx")}


def sources(*suffixes, folders=_FOLDERS):
    """All source files with these suffixes, without build outputs; at least one."""
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    files = [p for p in files if p not in _GENERATED and not _OUTPUTS & set(p.relative_to(ROOT).parts)]
    assert files, f"no file with {suffixes} in {folders}"
    return sorted(files)


def documents():
    """All pages: README.md and its kind, and docs/."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def offenders(paths, rule):
    """One "file: what is wrong" for each thing that `rule(path)` finds in each of the files."""
    return [f"{name(path)}: {wrong}" for path in paths for wrong in rule(path)]


def name(path):
    """The path of a file in messages."""
    return path.relative_to(ROOT).as_posix()


@cache
def text(path):
    """The text of a file, read once."""
    return path.read_text(encoding="utf-8")


def cython_imports(path):
    """Modules of realizar that a Cython file imports or cimports."""
    pattern = r"^\s*(?:from\s+(realizar[\w.]*)\s+c?import|c?import\s+(realizar[\w.]*))"
    return {a or b for a, b in re.findall(pattern, text(path), re.MULTILINE)}
