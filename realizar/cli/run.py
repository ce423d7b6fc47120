"""`realizar run`: answers one prompt."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

from typer import Argument, BadParameter, Option

from realizar.cli import adapters, options
from realizar.cli.answer import write_answer
from realizar.cli.loading import load
from realizar.cli.text import read_text, write_stats
from realizar.params import EngineParams, SamplingParams

EXAMPLE = 'Example: realizar run smollm2 "Why is the sky blue?" --temperature 0'
_WORDS_HELP = "The model, unless -m names it or it is the default one; then the text; - reads standard input."


@options.takes_params
def command(
    words: Annotated[list[str], Argument(metavar="[MODEL] PROMPT", help=_WORDS_HELP)],
    sampling: SamplingParams,
    engine: EngineParams,
    model: options.ModelOption = None,
    system: options.System = None,
    template_kwargs: options.TemplateKwargs = None,
    image: Annotated[
        list[str] | None, Option("-i", "--image", help="Picture before the prompt: a file or a URL.", metavar="FILE")
    ] = None,
    audio: Annotated[
        list[str] | None, Option("--audio", help="Sound before the prompt: a file or a URL.", metavar="FILE")
    ] = None,
    raw: Annotated[bool, Option("--raw", help="Continue the text without the chat template.")] = False,
    lora: adapters.Lora = None,
    control_vector: adapters.ControlVector = None,
    stats: options.Stats = False,
) -> None:
    """Answer PROMPT with the model's chat template, or continue it if the model has none."""
    name, prompt = _model_and_prompt(words, model)
    parts = [{"type": "image_url", "image_url": {"url": each}} for each in image or ()]
    parts += [{"type": "audio_url", "audio_url": {"url": each}} for each in audio or ()]
    if "" in (*(image or ()), *(audio or ())):
        raise BadParameter("--image and --audio need a file or a URL, not an empty text")
    if parts and raw:
        raise BadParameter("--image and --audio need the chat template; leave out --raw")
    # A URL on the command line is the user's own.
    engine = replace(engine, allow_urls=True)
    text = read_text(prompt)
    begin = time.perf_counter()
    with load(name, engine) as llm:
        load_s = time.perf_counter() - begin
        sampling = options.with_cli_defaults(sampling, llm.sampling_defaults)
        sampling = adapters.with_adapters(llm, sampling, lora, control_vector)
        if raw or (llm.tokenizer.chat_template is None and not parts):
            answer = llm.stream(text, sampling)
        else:
            messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
            messages.append({"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text})
            answer = llm.chat(messages, sampling, chat_template_kwargs=template_kwargs, stream=True)
        write_answer(answer)
        if stats:
            write_stats(answer, load_s)


def _model_and_prompt(words: list[str], option: str | None) -> tuple[str, str]:
    """Return the two words, of which the model may be missing."""
    if len(words) > 2:
        raise BadParameter(f"{len(words)} arguments; quote the prompt to make it one")
    if len(words) == 1 and option is None and options.is_model(words[0]):
        raise BadParameter(f"{words[0]} is a model, and there is no prompt; for a conversation, use realizar chat")
    return options.one_model(words[0] if len(words) == 2 else None, option), words[-1]
