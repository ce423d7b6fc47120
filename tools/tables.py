"""Writes the generated parts of docs/models.md and docs/graph.md from the sources; --check reports stale ones.

python tools/tables.py [--check]
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for plugins/; after the installed package

from realizar.arch.registry import Registry  # noqa: E402
from realizar.graph import Graph  # noqa: E402
from realizar.graph.deprecated import DeprecatedNames  # noqa: E402
from realizar.graph.ops import OPS  # noqa: E402
from realizar.quants import FORMATS  # noqa: E402

BEGIN, END = "<!-- begin: written by tools/tables.py -->\n", "<!-- end: written by tools/tables.py -->\n"
RECORDING = ("value", "emit")  # primitives that the other methods of Graph use
# Shape rules that do not depend on attributes; the others are in the docstrings.
OF_X = "the result has the shape of x"
SHAPES = {"same": "inputs and result have the same shape", "first": OF_X, "norm": OF_X, "rope": OF_X}
ISA_LEVELS = ("scalar", "avx2", "avxvnni", "avx512", "amx")


def architectures() -> list[str]:
    """Return the table of shipped architectures: GGUF name, docstring, file."""
    lines = ["| architecture | models | plugin |", "|---|---|---|"]
    for path in sorted((ROOT / "plugins").glob("[!_]*.py")):
        registry = Registry()
        registry.add(path.stem, importlib.import_module(f"plugins.{path.stem}"))
        for name, architecture in sorted(registry.architectures.items()):
            about = (type(architecture).__doc__ or "").split("\n\n")[0]
            about = re.sub(r"\s*\(http[^)]*\)", "", " ".join(about.split())).rstrip(".")
            lines.append(f"| `{name}` | {about} | [`plugins/{path.name}`](../plugins/{path.name}) |")
    return lines


def formats() -> list[str]:
    """Return the table of quantization formats: bits per weight, and the ISA levels with separate kernels."""
    lines = ["| format | bits per weight | " + " | ".join(ISA_LEVELS) + " |", "|---|---:|" + ":-:|" * len(ISA_LEVELS)]
    own = {tier: _products(tier) for tier in ISA_LEVELS}
    for row in FORMATS.values():
        marks = " | ".join("yes" if row.name in own[tier] else "inherits" for tier in ISA_LEVELS)
        lines.append(f"| {row.name} | {8 * row.n_bytes / row.n_elements:g} | {marks} |")
    return lines


def _products(tier: str) -> set[str]:
    literal = (ROOT / "realizar/_kernels/src" / f"{tier}.c").read_text()
    return set(re.findall(r"\.format\[RZ_(\w+)\]", literal))


def ops() -> list[str]:
    """Return the table of ops: name, formula, attributes."""
    lines = ["| op | what it computes | attributes |", "|---|---|---|"]
    for op in OPS.values():
        lines.append(f"| `{op.name}` | {op.formula} | {', '.join(f'`{name}`' for name in op.attrs)} |")
    return lines


def methods() -> list[str]:
    """Return an entry per public method of Graph: signature, docstring, and the ops that it records."""
    lines: list[str] = []
    classes = [Graph, *(base for base in Graph.__bases__ if base is not DeprecatedNames)]
    for name, method in ((name, method) for cls in classes for name, method in vars(cls).items()):
        if callable(method) and not name.startswith("_") and name not in RECORDING:
            lines += ["", f"### `g.{name}{_signature(method)}`", "", *inspect.cleandoc(method.__doc__).splitlines()]
            for op in dict.fromkeys(re.findall(r'self\.\w+\(\s*"(\w+)"', inspect.getsource(method))):
                attrs = ", ".join(f"`{attr}`" for attr in OPS[op].attrs)
                shape = SHAPES.get(OPS[op].shape.__name__)
                said = [
                    f"`{OPS[op].formula}`",
                    *([f"attributes {attrs}"] if attrs else []),
                    *([shape] if shape else []),
                ]
                lines += ["", f"Records `{op}`: {'; '.join(said)}."]
    return lines


def _signature(method: Callable[..., object]) -> str:
    """Return names and defaults of the parameters, without types."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(method).parameters.values()][1:]
    return str(inspect.Signature(parameters))


def main() -> int:
    """Write the tables, or check them."""
    wanted = {
        ROOT / "docs/models.md": [*architectures(), "", *formats()],
        ROOT / "docs/graph.md": [*ops(), "", "## The methods", *methods()],
    }
    status = 0
    for path, lines in wanted.items():
        text = path.read_text()
        head, rest = text.split(BEGIN)
        new = head + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1]
        if "--check" not in sys.argv:
            path.write_text(new)
        elif text != new:
            print(f"{path.name}: its table is outdated; run python tools/tables.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
