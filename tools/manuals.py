"""Writes the manual pages of the command line, docs/man/*.1, from its parser; --check reports stale ones.

    python tools/manuals.py [--check]

A wheel installs them to share/man, where man looks next to the folder of the program.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from realizar import __version__
from realizar.cli.app import app

FOLDER = Path(__file__).resolve().parents[1] / "docs/man"
EXIT_STATUS = (
    ("0", "success"),
    ("1", "failure: a file, a model, a download, a line of a batch; for gguf diff, files that differ"),
    ("2", "wrong usage: an unknown option, a missing argument, a value out of range"),
    ("130, 143, 129", "Ctrl-C, SIGTERM, SIGHUP: half-written files are deleted"),
)
VARIABLES = (
    ("REALIZAR_CACHE", "the folder of downloaded models"),
    ("REALIZAR_ISA", "a lower instruction set than the best of this CPU"),
    ("REALIZAR_PLUGINS", "the plugins that are loaded, separated by commas; all by default"),
)


def escaped(text: str) -> str:
    """Return text for roff: backslashes and hyphens literally, no line that begins with a control character."""
    plain = " ".join(re.sub(r"\[/?[a-z ]+\]", "", text).split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


def definitions(heading: str, rows: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Yield a section of terms with their descriptions; nothing if there are none."""
    listed = list(rows)
    if listed:
        yield f".SH {heading}"
    for term, description in listed:
        yield from (".TP", f"\\fB{escaped(term)}\\fR", escaped(description) or "\\&")


def page(path: list[str], command: Any, context: Any) -> str:
    """Return the page of one command; `path` are its words, such as realizar, gguf, split."""
    title, about = "-".join(path), escaped(command.help or "")
    first, _, others = about.partition(". ")
    records = [(parameter, parameter.get_help_record(context)) for parameter in command.get_params(context)]
    subcommands = getattr(command, "commands", {})
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH {title.upper()} 1 "" "realizar {__version__}"',
        ".SH NAME",
        f"{escaped(title)} \\- {first.rstrip('.')}",
        ".SH SYNOPSIS",
        f"\\fB{escaped(' '.join(path))}\\fR {escaped(usage)}",
    ]
    if others:
        lines += [".SH DESCRIPTION", others]
    arguments = (row for parameter, row in records if row and parameter.param_type_name == "argument")
    options = (row for parameter, row in records if row and parameter.param_type_name != "argument")
    lines += definitions("ARGUMENTS", arguments)
    lines += definitions("OPTIONS", options)
    lines += definitions("COMMANDS", ((name, one.help or "") for name, one in subcommands.items() if not one.hidden))
    lines += definitions("EXIT STATUS", EXIT_STATUS)
    lines += definitions("ENVIRONMENT", VARIABLES)
    if command.epilog:
        lines += [".SH EXAMPLE", ".nf", escaped(command.epilog.removeprefix("Example: ")), ".fi"]
    above = ["-".join(path[:-1])] if path[1:] else []
    others_listed = [*above, *(f"{title}-{name}" for name, one in subcommands.items() if not one.hidden)]
    if others_listed:
        lines += [".SH SEE ALSO", ",\n".join(f"\\fB{escaped(name)}\\fR(1)" for name in others_listed)]
    return "\n".join(lines) + "\n"


def pages(command: Any = None, path: tuple[str, ...] = ("realizar",), parent: Any = None) -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of the page of a command and of those of all below it."""
    command = typer.main.get_command(app) if command is None else command
    context = command.context_class(command, info_name=path[-1], parent=parent, **command.context_settings)
    yield f"{'-'.join(path)}.1", page(list(path), command, context)
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from pages(below, (*path, name), context)


def main(words: list[str]) -> int:
    """Write the pages, or check them; returns the exit status."""
    wanted = dict(pages())
    found = {file.name: file.read_text() for file in FOLDER.glob("*.1")}
    if words == ["--check"]:
        stale = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        if stale:
            print(f"{', '.join(stale)}: stale; run python tools/manuals.py", file=sys.stderr)
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
