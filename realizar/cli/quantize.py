"""`realizar quantize`: writes a model in smaller types."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, BadParameter, Option

from realizar import store
from realizar.cli import options, reading
from realizar.cli.budget import measuring, write_types
from realizar.cli.tables import write_table

if TYPE_CHECKING:
    from realizar.quantize import Quantization, Quantizer, TensorPlan

EXAMPLE = "Example: realizar quantize model-F16.gguf model-Q4_K_M.gguf Q4_K_M --imatrix imatrix.gguf"


def command(
    source: Annotated[str, Argument(metavar="IN", help=f"{options.MODEL_HELP} Or a Hugging Face folder.")],
    out: Annotated[Path, Argument(metavar="OUT.gguf", help="The file to write.")],
    type_name: Annotated[
        str | None,
        Argument(metavar="[TYPE]", help="A recipe, such as Q4_K_M, Q6_K, Q8_0 (docs/quantize.md).", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        Option(
            metavar="SIZE",
            help="Instead of TYPE: bits per weight (4.25bpw) or the size of the file (350MB, 330MiB). "
            "Measures each tensor and chooses its type (docs/budget.md).",
        ),
    ] = None,
    text: Annotated[
        str | None,
        Option(
            metavar="FILE", help="The text that --budget measures with.", show_default="a page of Alice in Wonderland"
        ),
    ] = None,
    imatrix: Annotated[
        Path | None, Option(metavar="FILE", help="Importance matrix, of realizar imatrix or llama-imatrix.")
    ] = None,
    tensor: Annotated[
        list[str] | None,
        Option(metavar="PATTERN=TYPE", help="Type of the tensors whose names fit; may be repeated, the first decides."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print the types and the size.")] = False,
    threads: Annotated[
        int | None, Option("-t", "--threads", help="Worker threads.", show_default="physical cores", min=1)
    ] = None,
) -> None:
    """Quantize a model: a GGUF file or a Hugging Face folder to a GGUF file of smaller types, by a recipe or a size."""
    from realizar.gguf.target import check_target
    from realizar.quantize import open_to_quantize

    if (type_name is None) == (budget is None):
        raise BadParameter("give either a TYPE, such as Q4_K_M, or --budget with a size, such as 4.25bpw or 350MB")
    if budget is None and text is not None:
        raise BadParameter("--text is the text that --budget measures with; a TYPE needs none")
    if budget is not None and tensor:
        raise BadParameter("--tensor goes with a TYPE; --budget chooses the types of all tensors")
    overrides = [_override(each) for each in tensor or ()]
    model = source if Path(source).is_dir() else store.resolve(source)
    with ExitStack() as stack:
        with options.usage_errors():
            if type_name is not None:
                opened = stack.enter_context(open_to_quantize(model, type_name, imatrix, overrides, threads))
            else:
                if not dry_run:
                    check_target(out, (Path(model),))  # before the long wait
                opened = stack.enter_context(_measured(model, str(budget), text, imatrix, threads))
        if budget is not None and dry_run:
            write_types(opened.result)
        if not dry_run:
            with options.usage_errors(), _bar(opened.result) as progress:
                opened.write(out, progress)
    _report(opened.result, dry_run, out)


@contextmanager
def _measured(
    model: str | Path, budget: str, text: str | None, imatrix: Path | None, threads: int | None
) -> Iterator[Quantizer]:
    from realizar.quality.budget import open_to_budget

    content = None if text is None else reading.read(text)
    with ExitStack() as stack:
        with measuring() as progress:
            opened = open_to_budget(
                model, budget, text=content, imatrix=imatrix, n_threads=threads, progress=progress
            )  # fmt: skip
            quantizer = stack.enter_context(opened)
        yield quantizer


def _override(text: str) -> tuple[str, str]:
    pattern, equals, name = text.rpartition("=")
    if not (pattern and equals and name):
        raise BadParameter(f"--tensor {text!r}: must be PATTERN=TYPE, such as 'ffn_down=Q6_K' or 'blk.0.*=Q8_0'")
    return pattern, name


def _report(found: Quantization, is_dry: bool, out: Path) -> None:
    rows: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for plan in found.plans:
        key = plan.source.name, plan.target.name
        rows[key] += 1
        sizes[key] += plan.n_bytes
    write_table(
        ("from", "to", "tensors", "MB"),
        [(*key, str(rows[key]), f"{sizes[key] / 1e6:.1f}") for key in sizes],
        right=("tensors", "MB"),
    )
    verb = "would have" if is_dry else "has"
    print(
        f"{out}: {found.recipe.name}, {verb} {found.n_bytes / 1e6:.1f} MB of tensors, "
        f"{found.bits_per_weight:.2f} bits per weight"
    )
    if found.divergences:
        print(f"predicted divergence: {sum(found.divergences.values()):.4f} nats")
    _notes(found)


def _notes(found: Quantization) -> None:
    changed = [plan for plan in found.plans if plan.source != plan.target]
    if refused := [plan for plan in found.plans if plan.refused]:
        first = refused[0]
        print(
            f"note: {len(refused)} tensors have rows that are no multiple of their type's blocks, and get a larger "
            f"type: {first.name} of {first.shape[-1]} columns is {first.target.name} instead of {first.refused}",
            file=sys.stderr,
        )
    if again := [plan for plan in changed if plan.source.n_elements > 1]:
        print(
            f"note: {len(again)} tensors were quantized before ({again[0].source.name}); quantizing the original "
            "model gives better results",
            file=sys.stderr,
        )
    if found.needs_importances:
        print(
            f"note: {found.recipe.name} needs an importance matrix, for {len(found.needs_importances)} tensors such as "
            f"{found.needs_importances[0]}: pass it with --imatrix",
            file=sys.stderr,
        )
    if found.without_importances:
        names = ", ".join(found.without_importances[:3])
        print(
            f"note: the importance matrix has no entry for {len(found.without_importances)} tensors: {names}",
            file=sys.stderr,
        )


@contextmanager
def _bar(planned: Quantization) -> Iterator[Callable[[TensorPlan], None] | None]:
    """Yield a function that moves a bar on standard error, by bytes written; None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=planned.n_bytes)
        before = 0

        def move(plan: TensorPlan) -> None:
            nonlocal before
            bar.update(task, advance=before, description=plan.name)
            before = plan.n_bytes

        yield move
