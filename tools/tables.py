"""Writes what is generated from the sources: tables of docs/models.md and docs/graph.md, the table of the shipped
plugins, realizar/arch/shipped.json, and the codebooks of the IQ formats. --check reports stale ones.

python tools/tables.py [--check]
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for plugins/; after the installed package

import codebooks  # noqa: E402

from realizar.arch.registry import Registry  # noqa: E402
from realizar.arch.shipped import REALIZAR  # noqa: E402
from realizar.graph import Graph  # noqa: E402
from realizar.graph.deprecated import DeprecatedNames  # noqa: E402
from realizar.graph.ops import OPS  # noqa: E402
from realizar.quants import FORMATS  # noqa: E402
from tests.parity import cases  # noqa: E402

BEGIN, END = "<!-- begin: written by tools/tables.py -->\n", "<!-- end: written by tools/tables.py -->\n"
RECORDING = ("value", "emit")  # primitives that the other methods of Graph use
# Shape rules that do not depend on attributes; the others are in the docstrings.
OF_X = "the result has the shape of x"
SHAPES = {"same": "inputs and result have the same shape", "first": OF_X, "norm": OF_X, "rope": OF_X, "hadamard": OF_X}
CASES = ROOT / "tests/parity/architectures.json"
ISA_LEVELS = ("scalar", "avx2", "avxvnni", "avx512", "amx")


@cache
def plugins() -> Registry:
    """Return what the plugins of this checkout provide."""
    registry = Registry()
    for path in sorted((ROOT / "plugins").glob("[!_]*.py")):
        registry.add(path.stem, importlib.import_module(f"plugins.{path.stem}"))
    return registry


@cache
def parity() -> dict[str, list[str]]:
    """Return the parity cases of each architecture: those of the whole sets, and those in the repository."""
    found = {name: list(names) for name, names in json.loads(CASES.read_text()).items()}
    for row in cases.own_set():
        found.setdefault(row["architecture"], []).append(row["case"])
    found["eagle3"] = [f"eagle_{path.name}" for path in cases.EAGLE.iterdir()]
    return {name: sorted(found[name]) for name in sorted(found) if name in plugins().architectures}


def whole_sets() -> str:
    """Return the table of the cases of the whole sets; without these, as it is."""
    if not cases.WHOLE_SET.is_dir():
        return CASES.read_text()
    return as_json(cases.compared())


def shipped() -> str:
    """Return the table of what realizar provides, with the parity cases of its architectures."""
    rows = json.loads((ROOT / "realizar/tokenizer/pretokenizers.json").read_text("utf-8"))
    origins = {**plugins().origins, **{f"pre-tokenizer {name}": REALIZAR for name in rows}}
    return as_json({"origins": dict(sorted(origins.items())), "parity": parity()})


def as_json(table: object) -> str:
    """Return a table as JSON with one name on each line."""
    text = json.dumps(table, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^]]*\]", lambda names: f"[{' '.join(names[0][1:-1].split())}]", text) + "\n"


def architectures() -> list[str]:
    """Return the table of shipped architectures: GGUF name, docstring, file, parity cases."""
    lines = ["| architecture | models | plugin | parity cases |", "|---|---|---|---|"]
    origins = plugins().origins
    for name in sorted(plugins().architectures, key=lambda name: (origins[f"architecture {name}"], name)):
        about = (type(plugins().architectures[name]).__doc__ or "").split("\n\n")[0]
        about = re.sub(r"\s*\(http[^)]*\)", "", " ".join(about.split())).rstrip(".")
        file = f"plugins/{origins[f'architecture {name}']}.py"
        held = ", ".join(parity().get(name, ["conformance only"]))
        lines.append(f"| `{name}` | {about} | [`{file}`](../{file}) | {held} |")
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


def in_document(path: Path, lines: list[str]) -> str:
    """Return the text of a document with these lines as its generated part."""
    head, rest = path.read_text("utf-8").split(BEGIN)
    return head + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1]


def main() -> int:
    """Write the tables, or check them."""
    models, graph = ROOT / "docs/models.md", ROOT / "docs/graph.md"
    wanted: dict[Path, Callable[[], str]] = {  # in this order: the others read the first
        CASES: whole_sets,
        ROOT / "realizar/arch/shipped.json": shipped,
        models: lambda: in_document(models, [*architectures(), "", *formats()]),
        graph: lambda: in_document(graph, [*ops(), "", "## The methods", *methods()]),
        ROOT / "realizar/quants/codebooks.py": codebooks.python_source,
        **{
            ROOT / f"realizar/_kernels/src/codebooks_{family}.c": partial(codebooks.c_source, family)
            for family in ("iq1", "iq2", "iq3")
        },
    }
    status = 0
    for path, make in wanted.items():
        new = make()
        if "--check" not in sys.argv:
            path.write_text(new, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != new:
            print(f"{path.name}: its table is outdated; run python tools/tables.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
