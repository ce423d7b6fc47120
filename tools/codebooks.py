"""The codebooks of the IQ formats, from the tables of the gguf package: Python and C source (written by tables.py)."""

from __future__ import annotations

import textwrap

import gguf.quants as reference
import numpy as np
import numpy.typing as npt

GRIDS = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S")
ORIGIN = "Written by tools/tables.py from the tables of the gguf package, which are those of ggml (ggml-common.h)."
PYTHON = '''"""The codebooks of the IQ formats.

{origin}

CODES: one hexadecimal number per codeword, element i in bits 2 i (codewords of eight elements) or 3 i (of four), as an
index of LEVELS.
"""

LEVELS = {levels}

CODES = {{
{codes}
}}
'''
C = """/* The codebooks of the {family} formats.
 *
 * {origin}
 * Element i of a codeword is the level of its bits 2 i (codewords of eight elements) or 3 i (of four). */
/* clang-format off */
#include "realizar/codebooks.h"

{tables}"""
# Of the kernels: IQ1's elements -1, 0 and 1 are offset to be unsigned, and scaled so that the delta is 1.
C_LEVELS = {"IQ1_S": (8, 16, 24)}


def codes(name: str) -> npt.NDArray[np.int64]:
    """Return the codewords of a format as numbers, with element i in bits 2 i or 3 i."""
    table = getattr(reference, name)
    table.init_grid()
    grid = table.grid.reshape(table.grid_shape)
    levels = np.searchsorted(table.grid_map, grid)
    words: npt.NDArray[np.int64] = (levels << _bits(name) * np.arange(grid.shape[1])).sum(axis=1)
    return words


def python_source() -> str:
    """Return the text of realizar/quants/codebooks.py."""
    levels = ["LEVELS = {", *(f'    "{name}": {tuple(getattr(reference, name).grid_map)},' for name in GRIDS), "}"]
    lines: list[str] = []
    for name in GRIDS:
        digits = _digits(name)
        text = "".join(f"{code:0{digits}x}" for code in codes(name))
        lines += [f'    "{name}": (', *(f'        "{part}"' for part in textwrap.wrap(text, 108)), "    ),"]
    return PYTHON.format(origin=ORIGIN, levels="\n".join(levels)[9:], codes="\n".join(lines))


def c_source(family: str) -> str:
    """Return the text of realizar/_kernels/src/codebooks_FAMILY.c: iq1, iq2 or iq3."""
    tables = "\n".join(_c_table(name) for name in GRIDS if name.lower().startswith(family))
    return C.format(family=family.upper(), origin=ORIGIN, tables=tables)


def _c_table(name: str) -> str:
    levels = C_LEVELS.get(name, getattr(reference, name).grid_map)
    width, number = (8, "uint64_t") if _bits(name) == 2 else (4, "uint32_t")
    bits, mask, words = _bits(name), (1 << _bits(name)) - 1, codes(name)
    level = [f"(i) == {i} ? {level} :" for i, level in enumerate(levels[:-1])]
    terms = [f"({number})LEVEL((code) >> {bits * i} & {mask}) << {8 * i}" for i in range(width)]
    numbers = ", ".join(f"X(0x{word:0{_digits(name)}x})" for word in words)
    lines = [
        *_macro("#define LEVEL(i)", f"({' '.join(level)} {levels[-1]})"),
        *_macro("#define X(code)", f"({' | '.join(terms)})"),
        f"const {number} rz_{name.lower()}_grid[{len(words)}] = {{",
        *textwrap.wrap(numbers + ",", 116, initial_indent="    ", subsequent_indent="    "),
        "};",
        "#undef LEVEL",
        "#undef X",
    ]
    return "\n".join(lines) + "\n"


def _macro(head: str, body: str) -> list[str]:
    lines = [head, *textwrap.wrap(body, 114, initial_indent="    ", subsequent_indent="    ")]
    return [f"{line:<119}\\" for line in lines[:-1]] + lines[-1:]


def _bits(name: str) -> int:
    return 3 if name.startswith("IQ3") else 2


def _digits(name: str) -> int:
    return 4 if _bits(name) == 2 else 3  # hexadecimal digits of 8 * 2 or 4 * 3 bits
