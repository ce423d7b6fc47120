"""Text input and output: prompts from arguments, files or standard input, streamed answers, statistics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.errors import ParameterError, short_repr

if TYPE_CHECKING:
    from realizar.engine.handle import TextStream

_VISIBLE = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in b"\t\n"}


def read_text(argument: str) -> str:
    """Return the argument itself, or all of standard input for `-`.

    Raises
    ------
    ParameterError
        If the bytes are not UTF-8.
    """
    try:
        if argument == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        return argument.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        source = "standard input" if argument == "-" else "the text"
        raise ParameterError(f"{source} is not UTF-8: {error.reason} at byte {error.start}") from None


def read_file(option: str, path: str) -> str:
    """Return the text of a file named by an option; raises ParameterError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the path
        raise ParameterError(f"{option} {short_repr(path)}: cannot be read as a text file: {error}") from None


def write_text(text: str, before: str = "", after: str = "") -> None:
    """Write to standard output at once; `before` and `after` may have escape sequences.

    A terminal gets no control characters of the text but tabs and new lines: a model may be made to write sequences
    that change the terminal or what it shows.
    """
    sys.stdout.write(before + (visible(text) if sys.stdout.isatty() else text) + after)
    sys.stdout.flush()


def visible(text: str) -> str:
    """Return a text with a sign in place of each control character but tabs and new lines."""
    return text.translate(_VISIBLE)


def write_stats(answer: TextStream, load_s: float | None = None) -> None:
    """Write statistics to standard error: load time (s), prefill and decode (tokens, tok/s)."""
    t = answer.completion.timings
    parts = [] if load_s is None else [f"load {load_s:.2f} s"]
    cached = f" ({t.n_cached} cached)" if t.n_cached else ""
    parts.append(f"prefill {t.n_prompt - t.n_cached} tokens{cached}, {t.prefill_tok_s:.1f} tok/s")
    parts.append(f"decode {t.n_generated} tokens, {t.decode_tok_s:.1f} tok/s")
    if t.n_drafted:
        parts.append(f"{t.n_accepted} of {t.n_drafted} draft tokens accepted")
    print(" | ".join(parts), file=sys.stderr)
