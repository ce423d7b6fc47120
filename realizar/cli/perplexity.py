"""`realizar perplexity`: how well a model predicts a text."""

from __future__ import annotations

import json
from typing import Annotated, Any

from typer import Option

from realizar.cli import options, reading
from realizar.cli.compare import comparison_lines
from realizar.cli.tables import write_line

EXAMPLE = "Example: realizar perplexity smollm2 text.txt --chunks 20"


def command(
    model: options.Model,
    text: reading.Text,
    kl_against: Annotated[
        str | None,
        Option("--kl-against", metavar="MODEL", help="A better file of the same model: adds the divergence from it."),
    ] = None,
    n_ctx: reading.NCtx = 512,
    n_chunks: reading.Chunks = None,
    threads: options.Threads = None,
    kv_type: reading.KVTypes = "f16",
    activations: options.RoundedTo = None,
    backend: options.Backend = "cpu",
    as_json: reading.AsJson = False,
) -> None:
    """Compute the perplexity of a text as llama-perplexity does: the second half of each chunk is scored."""
    from realizar.quality import compare, perplexity

    content = reading.read(text)
    engine: dict[str, Any] = {
        "n_threads": threads, "kv_type": kv_type, "activations": activations, "backend": backend,
    }  # fmt: skip
    with reading.chunk_progress("perplexity" if kl_against is None else "divergence") as progress:
        sizes: dict[str, Any] = {"n_ctx": n_ctx, "n_chunks": n_chunks, "progress": progress}
        if kl_against is not None:
            compared = compare(kl_against, model, content, n_worst=0, **sizes, **engine)
        else:
            found = perplexity(model, content, **sizes, **engine)
    if kl_against is not None:
        if as_json:
            print(json.dumps({"model": model, "reference": kl_against, **compared.summary()}, indent=2))
            return
        for line in comparison_lines(kl_against, model, compared):
            write_line(line, 12)
        return
    if as_json:
        print(json.dumps({"model": model, **found.summary()}, indent=2))
        return
    write_line(f"perplexity  {found.perplexity}", 12)
    write_line(f"scored      {found.n_scored} tokens in {found.n_chunks} chunks of {found.n_ctx}", 12)
    write_line(f"activations {found.activations}", 12)
