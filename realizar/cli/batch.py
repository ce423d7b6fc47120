"""`realizar batch`: answers a file of requests in the form of OpenAI's Batch API."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

from typer import Argument, BadParameter, Exit, Option

from realizar.cli import options, served
from realizar.cli.batch_files import n_lines, open_results, read_requests
from realizar.errors import RealizarError

EXAMPLE = "Example: realizar batch requests.jsonl results.jsonl -m qwen2.5-coder-0.5b --alias gpt-4o-mini"
_IN_HELP = "Lines of JSON with custom_id, method, url and body; - reads standard input."
_OUT_HELP = "File of results, which a second run continues; - writes to standard output."
_MODELS_HELP = f"{options.MODEL_HELP} May be repeated; a body names one, else the first answers."


def command(
    requests: Annotated[str, Argument(metavar="IN.jsonl", help=_IN_HELP)],
    results: Annotated[str, Argument(metavar="OUT.jsonl", help=_OUT_HELP)],
    model: Annotated[
        list[str] | None,
        Option(
            "-m",
            "--model",
            metavar="MODEL",
            help=_MODELS_HELP,
            autocompletion=options.model_names,
            show_default=options.MODEL,
        ),
    ] = None,
    alias: served.Alias = None,
    memory: served.Memory = None,
    n_threads: options.Threads = None,
    n_ctx: served.Context = None,
    n_seqs: served.Sequences = None,
    n_batch: served.Batch = None,
    kv_type: served.KVType = None,
    activations: options.RoundedTo = None,
    speculate: served.Speculate = None,
    device: served.Device = None,
    n_gpu_layers: served.GPULayers = None,
    n_cpu_moe: served.CPUExperts = None,
) -> None:
    """Answer requests of OpenAI's Batch API, many at once: chat completions, completions, responses, embeddings.

    The exit status is 1 if a line failed; its result says why.
    """
    own = {"models": model or [options.MODEL], "alias": alias, "memory": memory, "n_threads": n_threads, "n_ctx": n_ctx}
    own |= {"n_seqs": n_seqs, "n_batch": n_batch, "kv_type": kv_type, "activations": activations}
    own |= {"device": device, "n_gpu_layers": n_gpu_layers, "n_cpu_moe": n_cpu_moe}
    settings = served.settings("batch", own | {"speculate": speculate})
    from realizar.cli.batch_run import BatchRun

    if requests != "-" and results != "-" and _is_same(requests, results):
        raise BadParameter(f"{requests} and {results} are the same file")
    lines = read_requests(_opened(requests), settings.max_body_bytes)
    with open_results(results) as found:
        run = BatchRun(settings, found)
        try:
            with _progress(requests) as run.advance:
                asyncio.run(run.run(lines))
        except KeyboardInterrupt:
            more = "" if results == "-" else "; the same command goes on from here"
            print(f"stopped: {run.summary}{more}", file=sys.stderr)
            raise
    print(run.summary, file=sys.stderr)
    if run.n_failed:
        raise Exit(1)


def _is_same(requests: str, results: str) -> bool:
    try:
        return os.path.samefile(requests, results)
    except (OSError, ValueError):  # one does not exist
        return False


def _opened(name: str) -> BinaryIO:
    try:
        # Not sys.stdin: the process could not end while a thread waits for it.
        return open(os.dup(0) if name == "-" else name, "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        raise RealizarError(f"{name}: cannot be read: {error}") from None


@contextmanager
def _progress(name: str) -> Iterator[Callable[[], None]]:
    """Show a progress bar if standard error is a terminal; yields what is to be called when a line is done."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task("", total=None if name == "-" else n_lines(Path(name)))
        yield lambda: progress.advance(task)
