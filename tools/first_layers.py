"""Writes a copy of a model with only its first layers: a draft model with the same vocabulary for experiments.

    python tools/first_layers.py models/qwen.gguf 8 models/qwen-first-8.gguf

Nothing is retrained: the output norm and matrix receive hidden states that the omitted layers would have changed, so
the copy has a lower acceptance rate than a small model of the same family.
"""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

from realizar.errors import ParameterError
from realizar.gguf import GGUFFile, GGUFWriter


def write_first_layers(source: Path, n_layers: int, target: Path) -> None:
    """Write the copy.

    Raises
    ------
    ParameterError
        If the model does not have more layers.
    """
    with GGUFFile(source) as file:
        count = f"{file.architecture}.block_count"
        n = file.metadata.get_int(count)
        if not 1 <= n_layers < n:
            raise ParameterError(f"n_layers={n_layers}: must be in [1, {n - 1}]; {source.name} has {n}")
        writer = GGUFWriter(target)
        for key in file.metadata:
            field = file.metadata.field(key)
            value: Any = n_layers if key == count else file.metadata[key]
            if field.element is not None and field.n == n and key.startswith(file.architecture):
                value = value[:n_layers]  # one value per layer
            writer.add(key, value, field.element or field.type)
        for name, info in file.tensors.items():
            layer = re.match(r"blk\.(\d+)\.", name)
            if layer is None or int(layer[1]) < n_layers:
                writer.add_tensor(name, partial(file.data, name), info.shape, info.type)
        writer.write()


def main() -> None:
    """Parse the arguments and write the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("n_layers", type=int)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    write_first_layers(args.source, args.n_layers, args.target)


if __name__ == "__main__":
    main()
