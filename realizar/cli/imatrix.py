"""`realizar imatrix`: measures the importance of each input of the weights, for quantizing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from realizar import store
from realizar.cli import options, reading

EXAMPLE = "Example: realizar imatrix model-f16.gguf text.txt -o imatrix.gguf"


@reading.takes_sizes
def command(
    model: options.Model,
    text: reading.Text,
    out: Annotated[Path, Option("-o", "--output", metavar="OUT.gguf", help="The file to write.")] = Path(
        "imatrix.gguf"
    ),
    process_output: Annotated[
        bool, Option("--process-output", help="Include output.weight, which is best quantized without.")
    ] = False,
    *,
    sizes: dict[str, Any],
) -> None:
    """Write an importance matrix of a text, which realizar and llama-quantize read."""
    from realizar.gguf.imatrix import write_imatrix
    from realizar.gguf.target import check_target
    from realizar.quality import measure_imatrix

    content = reading.read(text)
    source = store.resolve(model)
    with options.usage_errors():
        check_target(out, (source,))
    with reading.chunk_progress("imatrix") as progress:
        found = measure_imatrix(
            model, content, dataset="" if text == "-" else text, with_output=process_output, progress=progress, **sizes
        )  # fmt: skip
    write_imatrix(out, found)
    print(f"{out}: {len(found.entries)} weights, {found.chunk_count} chunks of {found.chunk_size} tokens")
    unseen = [name for name, entry in found.entries.items() if not entry.counts.all()]
    if unseen:
        print(f"note: in {len(unseen)} weights some experts saw no token, such as {unseen[0]}; give a longer text")
