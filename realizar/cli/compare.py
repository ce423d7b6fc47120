"""`realizar compare`: how much the predictions of a model differ from those of a better file of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from realizar.cli import options, reading
from realizar.cli.tables import write_line

if TYPE_CHECKING:
    from realizar.quality import Comparison, Estimate, Position

EXAMPLE = "Example: realizar compare model-f16.gguf model-q4_k_m.gguf text.txt"


@reading.takes_sizes
def command(
    reference: Annotated[
        str, Argument(metavar="A", help=f"The reference. {options.MODEL_HELP}", autocompletion=options.model_names)
    ],
    model: Annotated[
        str,
        Argument(metavar="B", help="The model to compare with it, of the same vocabulary.",
                 autocompletion=options.model_names),
    ],
    text: Annotated[
        str | None, Argument(metavar="TEXT", help=reading.TEXT_HELP, show_default="a page of Alice in Wonderland")
    ] = None,
    n_worst: Annotated[int, Option("--worst", min=0, help="Places to show where they differ most.")] = 5,
    as_json: reading.AsJson = False,
    *,
    sizes: dict[str, Any],
) -> None:  # fmt: skip
    """Compare the predictions of two files of a model: divergence, best tokens, and where they differ most."""
    from realizar.quality import compare, sample_text

    content = sample_text() if text is None else reading.read(text)
    with reading.chunk_progress("divergence") as progress:
        found = compare(reference, model, content, n_worst=n_worst, progress=progress, **sizes)
    if as_json:
        reading.print_json({"reference": reference, "model": model, **found.summary()})
        return
    for line in comparison_lines(reference, model, found):
        write_line(line, 12)
    for place in found.worst:
        for line in _place_lines(place):
            write_line(line, 4)


def comparison_lines(reference: str, model: str, found: Comparison) -> list[str]:
    """Return the lines of a comparison, without its places."""
    mean, largest = found.divergence, found.divergences.max()
    percentiles = ", ".join(f"{percent:g} % {value:.3g}" for percent, value in found.percentiles().items())
    return [
        f"reference   {reference}, perplexity {found.reference_perplexity}",
        f"model       {model}, perplexity {found.model_perplexity}, {_percent(found.log_ratio.exp(), minus=1)} higher",
        f"divergence  {mean.value:.6f} ± {mean.error:.6f} nats, at most {largest:.4g}",
        f"percentiles {percentiles}",
        f"best token  the same in {_percent(found.same_top)} of the places",
        f"change of p {_percent(found.mean_change)} in the mean, {_percent(found.rms_change)} root mean square",
        f"scored      {found.n_scored} tokens in {found.n_chunks} chunks of {found.n_ctx}",
    ]


def _percent(estimate: Estimate, minus: float = 0) -> str:
    return f"{100 * (estimate.value - minus):.3f} ± {100 * estimate.error:.3f} %"


def _place_lines(place: Position) -> list[str]:
    """Return a heading and a line for each model."""
    rows = (("A", place.probabilities[0], place.reference_top), ("B", place.probabilities[1], place.model_top))
    tops = ["  ".join(f"{token!r} {100 * p:.1f} %" for token, p in top) for _, _, top in rows]
    where = f"chunk {place.chunk + 1}, token {place.index}"
    return [
        "",
        f"{where}: {place.divergence:.4g} nats, after {place.before[-60:]!r} came {place.token!r}",
        *(f"  {name} {100 * p:5.1f} %, best: {top}" for (name, p, _), top in zip(rows, tops, strict=True)),
    ]
