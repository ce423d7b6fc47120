"""`realizar run`: answers one prompt."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

from typer import Argument, Option

from realizar.cli import options
from realizar.cli.text import read_text, write_pieces, write_stats
from realizar.params import EngineParams, SamplingParams

EXAMPLE = 'Example: realizar run "Why is the sky blue?" --temperature 0'


@options.takes_params
def command(
    prompt: Annotated[str, Argument(metavar="PROMPT", help="The text; - reads standard input.")],
    sampling: SamplingParams,
    engine: EngineParams,
    model: options.ModelOption = options.MODEL,
    system: options.System = None,
    template_kwargs: options.TemplateKwargs = None,
    raw: Annotated[bool, Option("--raw", help="Continue the text without the chat template.")] = False,
    stats: options.Stats = False,
) -> None:
    """Answer PROMPT with the model's chat template, or continue it if the model has none."""
    text = read_text(prompt)
    from realizar.llm import LLM

    begin = time.perf_counter()
    with LLM(model, **asdict(engine)) as llm:
        llm.tokenize("")
        load_s = time.perf_counter() - begin
        sampling = options.with_cli_defaults(sampling, llm.sampling_defaults)
        if raw or llm.tokenizer.chat_template is None:
            answer = llm.stream(text, sampling)
        else:
            messages = [] if system is None else [{"role": "system", "content": system}]
            messages.append({"role": "user", "content": text})
            answer = llm.chat(messages, sampling, chat_template_kwargs=template_kwargs, stream=True)
        write_pieces(answer)
        if stats:
            write_stats(answer, load_s)
