"""The command line, one module per command. `main` is the entry point of the program `realizar`."""

from __future__ import annotations

import io
import os
import sys

import typer

from realizar import __version__
from realizar.cli import batch, bench, chat, convert, inspect, plan, plugins, pull, run, serve, tokenize, verify
from realizar.cli import list as list_
from realizar.errors import RealizarError

app = typer.Typer(
    name="realizar",
    help="Run GGUF language models on the CPU at the limit of the hardware.",
    epilog='Example: realizar run "Why is the sky blue?"',
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (run, chat, serve, batch, pull, list_, inspect, verify, plan, tokenize, convert, bench):
    app.command(module.__name__.rpartition(".")[2], epilog=module.EXAMPLE)(module.command)
app.add_typer(plugins.app, name="plugins")


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


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : list of str, optional
        Command line arguments without the program name; sys.argv by default.

    Returns
    -------
    int
        Exit status: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C. An error is one line on standard error.
    """
    words, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # output may contain characters that the terminal's encoding lacks
    try:
        status = app(words or ["--help"], prog_name="realizar", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:  # the reader (head, less) has exited; prevent another flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1  # as typer does if it meets the closed pipe first
    except Exception as error:
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)  # typer's usage errors have 2
    if not words:
        return 2  # no command; the help says which there are
    return status if isinstance(status, int) else 0


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Remove --debug, wherever it occurs before a lone --."""
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--debug"] + words[end:], "--debug" in words[:end]


def _one_line(error: Exception) -> str:
    usage = getattr(error, "format_message", None)  # typer's usage errors
    if usage is not None:
        return " ".join(usage().split()) + "; see --help"
    text = " ".join(str(error).split())
    # REALIZAR_ISA is read by the kernels, which do not raise RealizarError.
    if isinstance(error, RealizarError) or text.startswith("environment variable "):
        return text
    return f"{type(error).__name__}: {text} (a bug in realizar; run with --debug for a traceback)"
