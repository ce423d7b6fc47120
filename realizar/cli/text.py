"""Text input and output: prompts from arguments, files or standard input, streamed answers, statistics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from realizar.errors import ParameterError, short_repr

if TYPE_CHECKING:
    from realizar.engine.handle import TextStream


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


def write_pieces(answer: TextStream) -> None:
    """Stream an answer to standard output, and end the line; a terminal shows its reasoning, too, dimmed."""
    from realizar.engine.output import ReasoningEvent, TextEvent

    is_terminal, has_reasoning = sys.stdout.isatty(), False
    for event in answer.events():
        if isinstance(event, ReasoningEvent) and event.text and is_terminal:
            has_reasoning = True
            sys.stdout.write(f"\x1b[2m{event.text}\x1b[22m")
        elif isinstance(event, TextEvent):
            sys.stdout.write(f"\n\n{event.text}" if has_reasoning else event.text)
            has_reasoning = False
        sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


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
