"""The command line, one module per command. `main` is the entry point of the program `realizar`."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : list of str, optional
        Command line arguments without the program name; sys.argv by default.

    Returns
    -------
    int
        Exit status: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP. An error is one line on
        standard error, and so is a warning.
    """
    words, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    with _signals_unwind(), _short_warnings():
        return _run(words, debug)


def _run(words: list[str], debug: bool) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # output may contain characters that the terminal's encoding lacks
    try:
        from realizar.cli.app import app  # here, so that Ctrl-C meanwhile ends the program without a traceback

        status = app(words or ["--help"], prog_name="realizar", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:  # by a signal
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:  # the reader (head, less) has exited
        _discard_output()
        return 1  # as typer does if it meets the closed pipe first
    except Exception as error:
        from typer import Abort

        if isinstance(error, Abort):  # Ctrl-C within a command
            return 130
        if debug:
            raise
        _discard_output()
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)  # typer's usage errors have 2
    if not words:
        return 2  # no command; the help says which there are
    return status if isinstance(status, int) else 0


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show a warning as one line, like an error: its place in the code says nothing to who runs a command."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, so that temporary files are deleted.

    Signals that the caller ignores (nohup) or handles stay as they are. The first one counts: others, such as those
    that timeout(1) sends to the whole group, would interrupt what it unwinds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for name in names if signal.getsignal(number := getattr(signal, name)) == signal.SIG_DFL]

    def unwind(number: int, frame: object) -> None:
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in taken:
        signal.signal(number, unwind)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Replace standard streams that the caller has closed: Python has None for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  (open until the end)


def _discard_output() -> None:
    """Forget what standard output does not take, such as a closed pipe or a full disk, which would fail at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """Remove --debug, wherever it occurs before a lone --."""
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--debug"] + words[end:], "--debug" in words[:end]


def _one_line(error: Exception) -> str:
    from realizar.errors import RealizarError

    usage = getattr(error, "format_message", None)  # typer's usage errors
    if usage is not None:
        return " ".join(usage().split()) + "; see --help"
    text = " ".join(str(error).split())
    # REALIZAR_ISA is read by the kernels, which do not raise RealizarError.
    if isinstance(error, (RealizarError, OSError)) or text.startswith("environment variable "):
        return text
    return f"{type(error).__name__}: {text} (a bug in realizar; run with --debug for a traceback)"
