"""Mutation testing of the scalar kernels, which define the results: which changes of their headers no test notices.

    python setup.py build_ext --inplace && python tools/mutate_c.py [--objects FOLDER] [HEADER...]

A mutant has one operator or one integer changed. Only scalar.c includes these headers, so it alone is compiled again
and linked with the other objects of the build (FOLDER, by default the one in build/) into a copy of the tree, where the
tests run until one fails. Mutants that do not compile, or give the same object file, do not count. `tools/mutation.py`
is the same for Python.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
from pathlib import Path

from mutants import ROOT, copy_tree, mutants

HEADERS = "realizar/_kernels/include/realizar/scalar"
FORMAT_TESTS = "tests/kernels/test_dequantize.py tests/kernels/test_matmul.py -k {}"
TARGETS = {
    "q4_k.h": FORMAT_TESTS.format("Q4_K"),
    "k_scales.h": FORMAT_TESTS.format("Q4_K"),
    "q5_k.h": FORMAT_TESTS.format("Q5_K"),
    "q6_k.h": FORMAT_TESTS.format("Q6_K"),
    "q8_0.h": FORMAT_TESTS.format("Q8_0"),
    "norm.h": "tests/kernels/test_ops.py",
    "softmax.h": "tests/kernels/test_ops.py",
    "rope.h": "tests/kernels/test_ops.py",
    "logits.h": "tests/kernels/test_ops.py tests/kernels/test_scan.py",
}
"""Header -> the tests that are to notice, as arguments of pytest."""
GOAL = 0.8
FLAGS = ["-std=gnu11", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-w"]


def table_sources() -> list[str]:
    """Return the C sources of the extension `table`, as setup.py lists them."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "C_SOURCES":
            listed: list[str] = ast.literal_eval(node.value)["table"]
            return listed
    raise SystemExit("setup.py has no C_SOURCES")


class Tree:
    """A copy of the repository in which scalar.c is compiled anew for each mutant."""

    def __init__(self, folder: Path, objects: Path) -> None:
        copy_tree(folder)
        self.folder = folder
        others = (objects / "src" / name.replace(".c", ".o") for name in table_sources() if name != "scalar.c")
        self.objects = [str(objects / "table.o"), *map(str, others)]
        (self.table,) = (folder / "realizar/_kernels").glob("table.*.so")

    def build(self) -> bytes | None:
        """Compile and link; returns the object of scalar.c, or None if it does not compile."""
        made = self.folder / "scalar.o"
        kernels = self.folder / "realizar/_kernels"
        command = ["gcc", *FLAGS, f"-I{kernels / 'include'}", "-c", str(kernels / "src/scalar.c"), "-o", str(made)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        command = ["gcc", "-shared", *self.objects, str(made), "-pthread", "-o", str(self.table)]
        subprocess.run(command, check=True)
        return made.read_bytes()

    def passes(self, tests: str) -> bool:
        """Whether the tests pass; a run that does not end in two minutes does not."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests.split()]
        try:
            done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False, timeout=120)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 5:
            raise SystemExit(f"no test fits: {tests}")
        return done.returncode == 0


def mutate(tree: Tree, header: str, tests: str) -> float:
    """Run all mutants of a header, print the score and the survivors, and return the score."""
    path = tree.folder / HEADERS / header
    text = path.read_text()
    original = tree.build()
    if original is None or not tree.passes(tests):
        raise SystemExit(f"{header}: its tests fail without a mutant")
    survivors, n = [], 0
    for mutant in mutants(text):
        path.write_text(mutant.applied(text))
        built = tree.build()
        if built is not None and built != original:
            n += 1
            if tree.passes(tests):
                survivors.append(mutant)
    path.write_text(text)
    score = 1 - len(survivors) / max(1, n)
    print(f"{header}: {n - len(survivors)} of {n} mutants killed, {score:.1%}", flush=True)
    for mutant in survivors:
        print(mutant.described(text), flush=True)
    return score


def main() -> int:
    """Mutate the headers that are named, or all; returns 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description="Mutation testing of the scalar kernels.")
    parser.add_argument("headers", nargs="*", metavar="HEADER", default=list(TARGETS))
    parser.add_argument("--objects", type=Path, help="the folder of the objects of an extension build")
    given = parser.parse_args()
    if unknown := set(given.headers) - TARGETS.keys():
        parser.error(f"{', '.join(unknown)}: no target; the targets are {', '.join(TARGETS)}")
    objects = given.objects or next((ROOT / "build").glob("temp*/realizar/_kernels"), None)
    if objects is None:
        raise SystemExit("there is no build/temp*: run python setup.py build_ext --inplace")
    with tempfile.TemporaryDirectory() as name:
        tree = Tree(Path(name), objects)
        scores = [mutate(tree, header, TARGETS[header]) for header in given.headers]
    return int(min(scores) < GOAL)


if __name__ == "__main__":
    sys.exit(main())
