"""Where the sources are, for the tests of the house's rules."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CYTHON = {".pyx", ".pxd", ".pxi"}
C = {".c", ".h"}
_FOLDERS = ("realizar", "plugins", "tests", "tools", "asv_bench")
_GENERATED = {p.with_suffix(".c") for p in (ROOT / "realizar/_kernels").rglob("*.pyx")}


def sources(*suffixes, folders=_FOLDERS):
    """All source files with these suffixes, without what builds leave behind."""
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    return sorted(p for p in files if p not in _GENERATED and not {"build", "env"} & set(p.relative_to(ROOT).parts))


def name(path):
    """How a file is called in messages and test ids."""
    return path.relative_to(ROOT).as_posix()


def cython_imports(path):
    """Modules of realizar that a Cython file imports or cimports."""
    pattern = r"^\s*(?:from\s+(realizar[\w.]*)\s+c?import|c?import\s+(realizar[\w.]*))"
    return {a or b for a, b in re.findall(pattern, path.read_text(), re.MULTILINE)}
