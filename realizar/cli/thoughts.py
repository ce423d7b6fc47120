"""Answers of models that think: in a terminal the thoughts are dimmed, and the conversation goes on without them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.reasoning import ReasoningFormat, ReasoningSplitter
from realizar.cli.text import write_text

if TYPE_CHECKING:
    from realizar.llm import LLM
    from realizar.params import SamplingParams

_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"


def splitter(
    llm: LLM, messages: Sequence[Mapping[str, Any]], sampling: SamplingParams, variables: Mapping[str, Any] | None
) -> ReasoningSplitter:
    """Return what splits the answer of a conversation; it finds no thoughts in an answer that a constraint forms."""
    template = llm.tokenizer.chat_template
    is_constrained = any(getattr(sampling, name) is not None for name in ("grammar", "json_schema", "regex"))
    markers = None if template is None or is_constrained else ReasoningFormat.from_template(template.source)
    if markers is None:
        return ReasoningSplitter(None, is_open=False)
    return ReasoningSplitter(markers, markers.is_open(llm.chat_text(messages, chat_template_kwargs=variables)))


def write_answer(pieces: Iterable[str], split: ReasoningSplitter) -> str:
    """Stream an answer to standard output, and end the line; return the answer without thoughts.

    Where nothing can be dimmed, all is written as the model wrote it.
    """
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        pieces = map(_written, pieces)
        return _finished("".join(new for _, new in _parts(pieces, split)))
    text, has_thoughts = "", False
    for thoughts, new in _parts(pieces, split):
        if thoughts:
            write_text(thoughts, _DIM, _NORMAL)
            has_thoughts = True
        if new:
            write_text(f"\n\n{new}" if has_thoughts and not text else new)
            text += new
    return _finished(text)


def _parts(pieces: Iterable[str], split: ReasoningSplitter) -> Iterator[tuple[str, str]]:
    """Yield thoughts and text, as they come."""
    for piece in pieces:
        yield split.push(piece)
    yield split.flush()


def _written(piece: str) -> str:
    write_text(piece)
    return piece


def _finished(text: str) -> str:
    write_text("\n")
    return text
