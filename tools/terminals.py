"""Runs the commands of docs/tutorials/ and draws the terminal after them: docs/pictures/terminal-*.svg.

    pip install '.[server]' && realizar pull smollm2 && python tools/terminals.py [--check]

In a tutorial a console block has commands, which begin with "$ ", and a python block whose first line is "# NAME" is a
file. Answers are greedy, so the pictures change only with the program; --check reports those that are stale.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
WIDTH = 96
MARK = "\x1e"
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """Return the files of a tutorial: name -> text."""
    texts = [body for kind, body in _BLOCK.findall(page) if kind == "python"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in texts}


def commands(page: str) -> list[str]:
    """Return the commands of a tutorial, in order."""
    lines = "".join(body for kind, body in _BLOCK.findall(page) if kind == "console").splitlines()
    return [line.removeprefix("$ ") for line in lines]


def run(page: str, folder: Path) -> list[tuple[str, str]]:
    """Run a tutorial in an empty folder; returns its commands with what they print.

    Raises
    ------
    RuntimeError
        If a command fails; the message has the outputs so far.
    """
    for name, text in files(page).items():
        (folder / name).write_text(text)
    lines = [f"printf '{MARK}'\n{command}" for command in commands(page)]
    script = "set -e -o pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "\n".join(lines)
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "dumb", "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {done.stdout.replace(MARK, '$ ')}")
    outputs = done.stdout.split(MARK)[1:]
    return list(zip(commands(page), outputs, strict=True))


def draw(title: str, shown: list[tuple[str, str]]) -> str:
    """Return a terminal with commands and their outputs as SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    for command, output in shown:
        console.print(Text("$ ", "bold green") + Text(command, "bold"))
        if output.strip():
            console.print(Text(output.rstrip()))
    svg = console.export_svg(title=title, unique_id=re.sub(r"\W+", "-", title))
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # they would be fetched from another site


def picture(page: Path) -> Path:
    """Return where the picture of a tutorial is."""
    return ROOT / f"docs/pictures/terminal-{page.stem}.svg"


def drawn(page: Path) -> str:
    """Run a tutorial and return its picture."""
    with tempfile.TemporaryDirectory() as folder:
        return draw(f"realizar: {page.stem}", run(page.read_text(), Path(folder)))


def main(words: list[str]) -> int:
    """Write the pictures, or check them; returns the exit status."""
    stale = 0
    for page in PAGES:
        svg = drawn(page)
        if words == ["--check"]:
            if picture(page).read_text() != svg:
                stale = 1
                print(f"{picture(page).name} is stale: run python tools/terminals.py", file=sys.stderr)
        else:
            picture(page).write_text(svg)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
