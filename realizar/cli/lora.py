"""`realizar lora`: merges LoRA adapters into models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from realizar import store
from realizar.cli import options

MERGE = "Example: realizar lora merge model-Q8_0.gguf adapter.gguf merged-Q8_0.gguf"
app = Typer(epilog=MERGE, add_completion=False, help="Merge LoRA adapters into models.")


@app.callback()
def common() -> None:
    """Merge LoRA adapters into models."""


@app.command("merge", epilog=MERGE)
def merge(
    base: options.Model,
    adapter: Annotated[Path, Argument(metavar="ADAPTER", help="A GGUF file, or a folder of PEFT.")],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
    scale: Annotated[float, Option("--scale", help="Factor of the adapter.")] = 1.0,
    threads: Annotated[
        int | None, Option("-t", "--threads", help="Worker threads.", show_default="physical cores", min=1)
    ] = None,
) -> None:
    """Write a model with an adapter added to its weights, which keep their types."""
    from realizar.quantize.merge import merge_lora

    path = store.resolve(base)
    with options.usage_errors():
        found = merge_lora(path, adapter, out, scale, threads)
    print(f"{out}: {len(found.factors)} weights merged, {out.stat().st_size / 1e6:.1f} MB")
