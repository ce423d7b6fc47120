"""The environment in which wheels are built, and the checks of a finished one.

    eval "$(python tools/wheel.py environment)"   # as cibuildwheel sets it on Linux; call it in the folder of the build
    python tools/wheel.py check dist/realizar-*.whl

A wheel must be small, contain every compiled module once, with the tag of its Python, and no path of the machine that
built it: paths are of no use elsewhere, and make the same source give other bytes in another folder.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 6_000_000
NEEDED = ("realizar/py.typed", "realizar/server/web/dist/index.html", "realizar_plugins/llama.py")
ABI_TAGS = re.compile(r"cp310-cp310|cp311-abi3|cp3\d+-cp3\d+t?")
_SOURCE_PATH = re.compile(rb"(?<![\w.+@-])/(?:[\w.+@-]+/)+[\w.+@-]+\.(?:c|h|pyx|pxd|pyi?)\b")
_HOME_PATH = re.compile(rb"(?<![\w.+@-])/(?:home|root|tmp|Users|opt|work|project)/[\w.+@/-]+")


def environment() -> Iterator[str]:
    """Yield shell commands that set the variables of [tool.cibuildwheel.linux]."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, value in project["tool"]["cibuildwheel"]["linux"]["environment"].items():
        yield f'export {name}="{value}"'


def faults(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with a wheel."""
    n_bytes = wheel.stat().st_size
    if n_bytes > MAX_BYTES:
        yield f"{n_bytes} bytes, more than {MAX_BYTES}"
    if not ABI_TAGS.search(wheel.name):
        yield f"its name has none of the tags that are built: {wheel.name}"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        yield from (f"{name} is missing" for name in NEEDED if name not in names)
        compiled = [name for name in names if name.endswith((".so", ".pyd"))]
        modules = sorted(name.partition(".")[0] for name in compiled)
        if modules != expected_modules():
            yield f"compiled modules: {sorted(set(modules) ^ set(expected_modules())) or 'some twice'}"
        yield from (f"{name} is a source of C" for name in names if name.endswith((".c", ".pyx")))
        for name in compiled:
            data = archive.read(name)
            found = {*_SOURCE_PATH.findall(data), *_HOME_PATH.findall(data)}
            yield from (f"{name} has the path {path.decode()}" for path in sorted(found))


def expected_modules() -> list[str]:
    """Return the compiled modules, as paths without suffixes."""
    kernels = ROOT / "realizar/_kernels"
    return sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in kernels.rglob("*.pyx"))


def main(words: list[str]) -> int:
    """Run one of the two commands; returns the exit status."""
    if words == ["environment"]:
        print("\n".join(environment()))
        return 0
    if len(words) < 2 or words[0] != "check":
        print(__doc__, file=sys.stderr)
        return 2
    found = [f"{path}: {fault}" for path in map(Path, words[1:]) for fault in faults(path)]
    print("\n".join(found) or f"{len(words) - 1} wheels: nothing found", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
