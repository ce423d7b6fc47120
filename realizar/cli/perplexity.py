"""`realizar perplexity`: how well a model predicts a text."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Option

from realizar.cli import options, reading
from realizar.cli.compare import comparison_lines
from realizar.cli.tables import write_line

EXAMPLE = "Example: realizar perplexity smollm2 text.txt --chunks 20"


@reading.takes_sizes
def command(
    model: options.Model,
    text: reading.Text,
    kl_against: Annotated[
        str | None,
        Option("--kl-against", metavar="MODEL", help="A better file of the same model: adds the divergence from it."),
    ] = None,
    as_json: reading.AsJson = False,
    *,
    sizes: dict[str, Any],
) -> None:
    """Compute the perplexity of a text as llama-perplexity does: the second half of each chunk is scored."""
    from realizar.quality import compare, perplexity

    content = reading.read(text)
    if kl_against is not None:
        with reading.chunk_progress("divergence") as progress:
            compared = compare(kl_against, model, content, n_worst=0, progress=progress, **sizes)
        summary = {"model": model, "reference": kl_against, **compared.summary()}
        lines = comparison_lines(kl_against, model, compared)
    else:
        with reading.chunk_progress("perplexity") as progress:
            found = perplexity(model, content, progress=progress, **sizes)
        summary = {"model": model, **found.summary()}
        lines = [
            f"perplexity  {found.perplexity}",
            f"scored      {found.n_scored} tokens in {found.n_chunks} chunks of {found.n_ctx}",
            f"activations {found.activations}",
        ]
    if as_json:
        reading.print_json(summary)
        return
    for line in lines:
        write_line(line, 12)
