"""`realizar run`: answer one prompt and end."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from realizar.cli import options
from realizar.cli.text import read_text, write_pieces, write_stats
from realizar.params import EngineParams, SamplingParams

if TYPE_CHECKING:
    from realizar.engine.stream import TextStream
    from realizar.llm import LLM

EXAMPLE = 'Example: realizar run "Why is the sky blue?" --temperature 0'


@options.takes_params
def command(
    prompt: Annotated[str, Argument(metavar="PROMPT", help="The text; - reads standard input.")],
    sampling: SamplingParams,
    engine: EngineParams,
    model: options.ModelOption = options.MODEL,
    system: options.System = None,
    raw: Annotated[bool, Option("--raw", help="Continue the text; use no chat template.")] = False,
    stats: options.Stats = False,
) -> None:
    """Answer PROMPT through the model's chat template, or continue it where the model has none."""
    text = read_text(prompt)
    from realizar.llm import LLM

    begin = time.perf_counter()
    with LLM(model, **asdict(engine)) as llm:
        llm.tokenize("")
        load_s = time.perf_counter() - begin
        answer = _answer(llm, text, system, raw, sampling)
        write_pieces(answer)
        if stats:
            write_stats(answer, load_s)


def _answer(llm: LLM, text: str, system: str | None, raw: bool, sampling: SamplingParams) -> TextStream:
    if raw or llm.tokenizer.chat_template is None:
        return llm.stream(text, sampling)
    messages = [] if system is None else [{"role": "system", "content": system}]
    return llm.chat([*messages, {"role": "user", "content": text}], sampling, stream=True)
