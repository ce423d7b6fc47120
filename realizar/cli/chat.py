"""`realizar chat`: a conversation in the terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from realizar.cli import options
from realizar.cli.text import write_pieces, write_stats
from realizar.errors import ContextFullError, TemplateError
from realizar.params import EngineParams, SamplingParams

if TYPE_CHECKING:
    from realizar.engine.handle import TextStream
    from realizar.llm import LLM

EXAMPLE = "Example: realizar chat -m qwen2.5-coder-0.5b --system 'Answer in one sentence.'"


@options.takes_params
def command(
    sampling: SamplingParams,
    engine: EngineParams,
    model: options.ModelOption = options.MODEL,
    system: options.System = None,
    template_kwargs: options.TemplateKwargs = None,
    stats: options.Stats = False,
) -> None:
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D ends the conversation."""
    from realizar.llm import LLM

    with LLM(model, **asdict(engine)) as llm:
        if llm.tokenizer.chat_template is None:
            raise TemplateError(f"{model} has no chat template; to continue a text, use realizar run --raw")
        sampling = options.with_cli_defaults(sampling, llm.sampling_defaults)
        head = [] if system is None else [{"role": "system", "content": system}]
        turns: list[dict[str, Any]] = []
        for text in _questions():
            turns.append({"role": "user", "content": text})
            answer = _begin(llm, head, turns, sampling, template_kwargs)
            with _on_interrupt(answer.close):
                write_pieces(answer)
            turns.append(answer.completion.message)
            if stats:
                write_stats(answer)


def _questions() -> Iterator[str]:
    """Yield the user's lines until the end of standard input."""
    prompt = ""
    if sys.stdin.isatty():
        with suppress(ImportError):  # Windows has line editing without it
            import readline  # noqa: F401  (line editing and history for input())
        prompt = "> "
    while True:
        try:
            text = (input(prompt) if prompt else _piped_line()).strip()
        except EOFError:
            if prompt:
                print()
            return
        except UnicodeDecodeError as error:
            says = f"(skipped a line that is not UTF-8: {error.reason} at byte {error.start})"
            print(says, file=sys.stderr)
            continue
        if text:
            yield text


def _piped_line() -> str:
    """Read a UTF-8 line from standard input. In text mode, a decoding error would lose all buffered lines."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode()


def _begin(
    llm: LLM, head: list[dict[str, str]], turns: list[dict[str, Any]], sampling: SamplingParams,
    template_kwargs: dict[str, Any] | None,
) -> TextStream:  # fmt: skip
    """Start an answer; drops the oldest turns if the conversation does not fit into the context."""
    while True:
        try:
            return llm.chat([*head, *turns], sampling, chat_template_kwargs=template_kwargs, stream=True)
        except ContextFullError:
            if len(turns) == 1:
                raise
            print("(the conversation is longer than the context: dropped its oldest turn)", file=sys.stderr)
            del turns[:2]


@contextmanager
def _on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """Make Ctrl-C call `action` instead of ending the program."""
    before = signal.signal(signal.SIGINT, lambda signum, frame: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
