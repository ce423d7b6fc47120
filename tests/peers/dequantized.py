"""A copy of a GGUF file with every weight dequantized to float32, whose products need no int8 rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.quants import dequantize

if TYPE_CHECKING:
    from pathlib import Path

FILE_TYPE = "general.file_type"
ALL_F32 = 0


def write_dequantized(source: Path, target: Path) -> None:
    """Write the copy; it takes 4 bytes per weight, also in memory."""
    with GGUFFile(source) as file:
        writer = GGUFWriter(target)
        for key, value in file.metadata.items():
            field = file.metadata.field(key)
            writer.add(key, ALL_F32 if key == FILE_TYPE else value, field.element or field.type)
        for name, info in file.tensors.items():
            weights = dequantize(file.data(name), info.type.name)
            writer.add_tensor(name, weights.view(np.uint8), info.shape, GGMLType.F32)
        writer.write()
