"""Fuzz the GGUF parser: `pip install atheris`, then `python -m tests.tools.fuzz_gguf FOLDER -runs=1000000`.

FOLDER is the corpus, from which the next run starts; further arguments are libFuzzer's.
For any bytes, the parser must raise a GGUFError or return tensors that lie inside them.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["realizar.gguf", "realizar.errors"]):
    from realizar.errors import GGUFError
    from realizar.gguf import GGMLType, ValueType
    from realizar.gguf.parse import parse_header

from tests.gguf import raw


def look_at(data: bytes) -> None:
    """Parse, decode every value, and check the bounds of the tensors."""
    try:
        header = parse_header(memoryview(data), "fuzz")
        for key in header.metadata:
            header.metadata[key]
    except GGUFError:
        return
    end = 0
    for info in sorted(header.tensors.values(), key=lambda info: info.offset):
        if not end <= info.offset <= info.offset + info.n_bytes <= len(data) or info.n_bytes < 1:
            raise RuntimeError(f"{info} was accepted in a file of {len(data)} bytes, after {end}")
        end = info.offset + info.n_bytes


def seeds() -> list[bytes]:
    """Return small valid files, so that the fuzzer gets past the magic."""
    arch = raw.value("general.architecture", ValueType.STRING, raw.string("llama"))
    scalars = [
        raw.value(t.name, t, bytes(8)[: struct.calcsize(layout)])
        for t, layout in zip(ValueType, "BbHhIif?", strict=False)
    ]
    arrays = [
        raw.array("tokens", ValueType.STRING, 3, raw.string("a") + raw.string("") + raw.string("▁b")),
        raw.array("scores", ValueType.FLOAT32, 2, bytes(8)),
        raw.array("flags", ValueType.BOOL, 2, b"\0\1"),
    ]
    tensors = [
        raw.tensor("a", (2, 2)),
        raw.tensor("b", (256,), GGMLType.Q4_K, 32),
        raw.tensor("c", (32, 1, 2, 1), GGMLType.Q8_0, 192),
    ]
    aligned = [arch, raw.u32("general.alignment", 64)]
    return [
        raw.gguf(),
        raw.gguf([arch], version=2),
        raw.gguf([arch, *scalars]),
        raw.gguf([arch, *arrays]),
        raw.gguf([arch, *arrays], tensors, bytes(260)),
        raw.gguf(aligned, tensors[:1], bytes(16), alignment=64),
    ]


def main() -> None:
    """Run libFuzzer over the folder, after adding the seeds to it."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m tests.tools.fuzz_gguf FOLDER [-runs=1000000] [other options of libFuzzer]")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds()):
        parse_header(memoryview(seed), f"seed {i}")
        (folder / f"seed-{i}").write_bytes(seed)
    atheris.Setup(sys.argv, look_at)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
