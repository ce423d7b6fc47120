"""`realizar control-vector`: makes a control vector of two lists of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from realizar import store
from realizar.cli import options, reading

EXAMPLE = "Example: realizar control-vector smollm2 happy.txt sad.txt happy.gguf"


def command(
    model: options.Model,
    positive: Annotated[str, Argument(metavar="POSITIVE", help="Text file: a text in each line.")],
    negative: Annotated[str, Argument(metavar="NEGATIVE", help="The same with the opposite of each line.")],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
    n_ctx: Annotated[int, Option("--n-ctx", min=4, help="Maximum tokens of a text.")] = 512,
    n_threads: options.Threads = None,
    backend: options.Backend = "cpu",
    device: options.Device = "cpu",
) -> None:
    """Write a control vector, which leads from the negative texts to the positive ones (docs/adapters.md)."""
    from realizar.gguf import GGUFFile
    from realizar.gguf.target import check_target
    from realizar.quality.control_vector import make_control_vector
    from realizar.runtime.adapter_files import write_control_vector

    path = store.resolve(model)
    with options.usage_errors():
        check_target(out, (path, positive, negative))
    texts = [[line for line in reading.read(name).splitlines() if line.strip()] for name in (positive, negative)]
    with options.usage_errors():
        how = {"backend": backend, "device": device}
        vectors = make_control_vector(path, *texts, n_ctx=n_ctx, n_threads=n_threads, **how)
    with GGUFFile(path) as file:
        write_control_vector(out, vectors, file.architecture)
    print(f"{out}: {len(vectors)} layers, {len(texts[0])} pairs of texts")
