"""Loads a model for a command; a terminal shows that it is being loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

from realizar import store
from realizar.params import EngineParams

if TYPE_CHECKING:
    from realizar.llm import LLM


def load(model: str, engine: EngineParams) -> LLM:
    """Load a model and its tokenizer. Downloads show their own progress, before. Raises as `LLM`."""
    from realizar.llm import LLM

    path = store.resolve(model)
    shown = spinner(f"loading {model}") if engine.device == "cpu" else nullcontext()  # GPUs show what is uploaded
    with shown:
        llm = LLM(path, **asdict(engine))
        if engine.device != "cpu":
            print(f"devices: {llm.engine.offload}", file=sys.stderr)
        try:
            llm.tokenize("")  # builds the tokenizer
        except BaseException:
            llm.close()
            raise
    return llm


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show a text and that something happens while this context lasts, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)):
        yield
