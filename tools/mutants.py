"""What both tools for mutation testing need: a copy of the tree, and the mutants of C texts and of annotations."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SWAPS = {
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "/", "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|",
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&", "+=": "-=", "-=": "+=",
    "*=": "+=", "|=": "&=", "&=": "|=",
}  # fmt: skip
# Binary operators stand between blanks in our C (clang-format), so pointers and signs are left alone.
_OPERATOR = re.compile(r"(?<= )(" + "|".join(map(re.escape, sorted(SWAPS, key=len, reverse=True))) + r")(?= )")
_INTEGER = re.compile(r"(?<![\w.])(?:0x[0-9a-fA-F]+|\d+)(?![\w.])")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|^#[^\n]*|\"[^\"\n]*\"", re.DOTALL | re.MULTILINE)


def annotation_places(source: str) -> set[tuple[int, int]]:
    """Return the positions, (line, column), of all nodes inside of annotations."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("annotation", "returns"):
            part = getattr(node, field, None)
            for inner in ast.walk(part) if part is not None else ():
                if isinstance(inner, ast.expr):
                    found.add((inner.lineno, inner.col_offset))
                    found.add((inner.end_lineno or 0, inner.end_col_offset or 0))
                    found |= {(inner.lineno, column) for column in range(inner.col_offset, inner.end_col_offset or 0)}
    return found


def copy_tree(folder: Path) -> None:
    """Copy what git tracks, and the compiled modules, into a folder."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    compiled = (str(path.relative_to(ROOT)) for path in (ROOT / "realizar").rglob("*.so"))
    for name in [*tracked.split("\0"), *compiled]:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


class Mutant(NamedTuple):
    """One change of a text: from `begin` to `end` it becomes `new`."""

    begin: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        """Return the text with the change."""
        return text[: self.begin] + self.new + text[self.end :]

    def described(self, text: str) -> str:
        """Return the line, what it was and what it became."""
        row = text.count("\n", 0, self.begin)
        return f"  {row + 1}: {text[self.begin : self.end]} -> {self.new}: {text.splitlines()[row].strip()}"


def mutants(text: str) -> Iterator[Mutant]:
    """Yield all mutants of a C text, in order; comments, preprocessor lines and strings are left alone."""
    code = _COMMENT.sub(lambda found: " " * len(found[0]), text)
    found = [Mutant(*operator.span(), SWAPS[operator[0]]) for operator in _OPERATOR.finditer(code)]
    found += [Mutant(*number.span(), str(int(number[0], 0) + 1)) for number in _INTEGER.finditer(code)]
    yield from sorted(found)
