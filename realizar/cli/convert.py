"""`realizar convert`: converts a Hugging Face checkpoint to GGUF."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from realizar import store
from realizar.cli import options

EXAMPLE = "Example: realizar convert Qwen2.5-0.5B qwen.gguf --type Q8_0"


def command(
    folder: Annotated[
        Path, Argument(metavar="HF_DIR", help="Folder with config.json, safetensors and the tokenizer's files.")
    ],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
    target: Annotated[
        str | None,
        Option(metavar="MODEL", help="Of an EAGLE-3 draft or an adapter: the model for which it is, as GGUF."),
    ] = None,
    mmproj: Annotated[
        bool, Option("--mmproj", help="Convert the encoders of pictures and sounds, to an mmproj file.")
    ] = False,
    type_name: Annotated[Literal["F32", "F16", "BF16", "Q8_0"], Option("--type", help="Type of the matrices.")] = "F16",
) -> None:
    """Convert a Hugging Face checkpoint, or an adapter of PEFT, to a GGUF file; does not need torch."""
    from realizar.convert import convert
    from realizar.convert.adapters import convert_adapter
    from realizar.convert.peft import is_peft

    model = None if target is None else store.resolve(target)
    with options.usage_errors():
        if is_peft(folder):
            adapter = convert_adapter(folder, out, model)
            print(f"{out}: adapter of {len(adapter.factors)} weights, {out.stat().st_size / 1e6:.1f} MB")
            return
        result = convert(folder, out, type_name, model, mmproj)
    print(f"{out}: {result.architecture}, {result.n_tensors} tensors, {out.stat().st_size / 1e6:.1f} MB")
    if result.tokenizer is None and not mmproj:
        print(f"note: {folder} has no tokenizer; the model accepts only token ids", file=sys.stderr)
    if result.unused:
        first = ", ".join(result.unused[:3])
        print(f"note: {len(result.unused)} tensors are not used by {result.architecture}: {first}", file=sys.stderr)
