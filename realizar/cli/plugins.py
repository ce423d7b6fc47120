"""`realizar plugins`: lists installed plugins; `realizar plugins new` creates a new one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option, Typer

from realizar.cli import options
from realizar.cli.tables import write_line

EXAMPLE = "Example: realizar plugins new my-model"
app = Typer(epilog=EXAMPLE, add_completion=False)


@app.callback(invoke_without_command=True)
def command(context: Context) -> None:
    """List what the plugins provide and what tests the shipped architectures; broken plugins with their errors.

    "parity" and names of models: their logits or hidden states are compared with those of other implementations.
    "conformance only": nothing but realizar's own definitions is compared (`check_architecture`).
    """
    if context.invoked_subcommand is not None:
        return
    from realizar.arch import shipped
    from realizar.arch.registry import default

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken plugins are listed below
        found = default()
    for what, plugin in sorted(found.origins.items()):
        kind, _, name = what.partition(" ")
        tested = kind == "architecture" and shipped.origins().get(what) == plugin
        write_line(f"{what}  from {plugin}" + (f"  {_tests(shipped.parity_cases(name))}" if tested else ""), 4)
    for plugin, why in sorted(found.broken.items()):
        write_line(f"plugin {plugin}  BROKEN: {why}", 4)


def _tests(cases: Sequence[str]) -> str:
    return f"parity: {', '.join(cases)}" if cases else "conformance only"


@app.command("new", epilog=EXAMPLE)
def new(
    name: Annotated[str, Argument(metavar="NAME", help="The value of general.architecture.")],
    folder: Annotated[Path, Option("--in", metavar="DIR", help="Parent of the new folder.")] = Path(),
) -> None:
    """Create a distribution with one architecture, its entry point and a passing test."""
    from realizar.cli.scaffold import write

    with options.usage_errors():
        root = write(name, folder)
    print(f"{root}: now pip install -e '{root}[test]' && pytest {root}")
