"""Options, input and progress of the commands that measure a model on a text: perplexity, compare, imatrix."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from realizar.cli import options
from realizar.errors import ParameterError, short_repr

if TYPE_CHECKING:
    from realizar.quality import Estimate

TEXT_HELP = "A text file in UTF-8; - reads standard input."
Text = Annotated[str, Argument(metavar="TEXT", help=TEXT_HELP)]
AsJson = Annotated[bool, Option("--json", help="Print one JSON object.")]
SHARED: dict[str, tuple[Any, Any]] = {
    "n_ctx": (
        Annotated[int, Option("--n-ctx", min=4, help="Tokens of a chunk; perplexities of others are not comparable.")],
        512,
    ),
    "n_chunks": (Annotated[int | None, Option("--chunks", min=1, help="Maximum chunks.", show_default="all")], None),
    **{
        name: options.ENGINE[name]
        for name in ("n_threads", "kv_type", "activations", "backend", "device", "n_gpu_layers")
    },
}
"""Keyword of the functions of `realizar.quality` -> option and default."""


def takes_sizes(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that adds the options of SHARED and checks them; the command receives them as `sizes`."""

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        from realizar.params import EngineParams

        sizes = {name: values.pop(name) for name in SHARED}
        with options.usage_errors():
            EngineParams(**{name: value for name, value in sizes.items() if name != "n_chunks"})
        command(**values, sizes=sizes)

    wrapper.__signature__ = options.signature_with(command, ("sizes",), SHARED)  # type: ignore[attr-defined]
    return wrapper


def read(path: str) -> str:
    """Return the text of a file, or of standard input for `-`, with its line ends as they are.

    Raises
    ------
    ParameterError
        If it cannot be read, or is not UTF-8.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(path, encoding="utf-8", newline="") as f:
            return f.read()
    except (OSError, ValueError) as error:
        raise ParameterError(f"TEXT {short_repr(path)}: cannot be read as a text file: {error}") from None


def print_json(summary: dict[str, Any]) -> None:
    """Print a result as JSON, in which numbers that are not finite are null."""
    print(json.dumps(_finite(summary), indent=2, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def chunk_progress(what: str) -> Iterator[Callable[[int, int, Estimate | None], None]]:
    """Yield a function that shows how many chunks are done, and the result so far, on standard error."""
    if not sys.stderr.isatty():
        yield lambda done, total, so_far: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[so_far]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, so_far="")

        def show(done: int, total: int, so_far: Estimate | None) -> None:
            bar.update(task, completed=done, total=total, so_far="" if so_far is None else str(so_far))

        yield show
