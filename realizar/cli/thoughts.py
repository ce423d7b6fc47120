"""Answers of models that think: a terminal shows the thoughts, dimmed; a pipe gets the answer alone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from realizar.cli.text import write_text

if TYPE_CHECKING:
    from realizar.engine.handle import TextStream

_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"


def write_answer(answer: TextStream) -> str:
    """Stream an answer to standard output, and end the line; return the answer without thoughts."""
    from realizar.engine.output import ReasoningEvent, TextEvent

    is_terminal = sys.stdout.isatty()
    dim, normal = ("", "") if os.environ.get("TERM") == "dumb" else (_DIM, _NORMAL)
    text, has_thoughts = "", False
    for event in answer.events():
        if isinstance(event, ReasoningEvent) and event.text and is_terminal:
            write_text(event.text, dim, normal)
            has_thoughts = True
        elif isinstance(event, TextEvent):
            write_text(f"\n\n{event.text}" if has_thoughts and not text else event.text)
            text += event.text
    write_text("\n")
    return text
