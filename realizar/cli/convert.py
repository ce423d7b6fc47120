"""`realizar convert`: a checkpoint of Hugging Face as a GGUF file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

EXAMPLE = "Example: realizar convert Qwen2.5-0.5B qwen.gguf --type Q8_0"


def command(
    folder: Annotated[Path, Argument(metavar="HF_DIR", help="config.json, safetensors, and the tokenizer's files.")],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
    type_name: Annotated[Literal["F32", "F16", "BF16", "Q8_0"], Option("--type", help="Type of the matrices.")] = "F16",
) -> None:
    """Convert a checkpoint of Hugging Face to a GGUF file; no torch is needed."""
    from realizar.convert import convert

    done = convert(folder, out, type_name)
    print(f"{out}: {done.architecture}, {done.n_tensors} tensors, {out.stat().st_size / 1e6:.1f} MB")
    if done.tokenizer is None:
        print(f"note: {folder} has no tokenizer; the model takes token ids only", file=sys.stderr)
    if done.unused:
        first = ", ".join(done.unused[:3])
        print(f"note: {len(done.unused)} tensors are not needed by {done.architecture}: {first}", file=sys.stderr)
