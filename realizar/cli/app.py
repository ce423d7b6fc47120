"""The commands of the program `realizar`, and its global options."""

from __future__ import annotations

import typer

from realizar import __version__
from realizar.cli import (
    batch,
    bench,
    chat,
    compare,
    control_vector,
    convert,
    devices,
    doctor,
    gguf,
    imatrix,
    inspect,
    lora,
    perplexity,
    plan,
    plugins,
    pull,
    quantize,
    run,
    serve,
    tokenize,
    verify,
)
from realizar.cli import list as list_

app = typer.Typer(
    name="realizar",
    help="Run GGUF language models on CPUs and GPUs at the limit of the hardware.",
    epilog='Example: realizar run "Why is the sky blue?"',
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    run, chat, serve, batch, pull, list_, inspect, verify, plan, tokenize, convert, quantize, perplexity, compare,
    imatrix, control_vector, bench, doctor, devices,
)  # fmt: skip
for module in COMMANDS:
    app.command(module.__name__.rpartition(".")[2].replace("_", "-"), epilog=module.EXAMPLE)(module.command)
app.add_typer(plugins.app, name="plugins")
app.add_typer(gguf.app, name="gguf")
app.add_typer(lora.app, name="lora")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"realizar {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors; may also follow the command."),
) -> None:
    """Declare the global options for --help; `main` has already removed --debug."""
