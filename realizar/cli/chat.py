"""`realizar chat`: a conversation in the terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from realizar.cli import adapters, options
from realizar.cli.chat_commands import ChatCommands
from realizar.cli.chat_input import is_interactive, questions
from realizar.cli.conversation import Conversation, Message
from realizar.cli.loading import load
from realizar.cli.text import write_stats
from realizar.errors import ContextFullError, RealizarError, TemplateError
from realizar.params import EngineParams, SamplingParams

if TYPE_CHECKING:
    from realizar.engine.handle import TextStream
    from realizar.llm import LLM

EXAMPLE = "Example: realizar chat qwen2.5-coder-0.5b --system 'Answer in one sentence.'"
_MODEL_HELP = f"{options.MODEL_HELP} May also be given by -m."


@options.takes_params
def command(
    sampling: SamplingParams,
    engine: EngineParams,
    named: Annotated[
        str | None, Argument(metavar="MODEL", help=_MODEL_HELP, autocompletion=options.model_names)
    ] = None,
    model: options.ModelOption = None,
    system: options.System = None,
    template_kwargs: options.TemplateKwargs = None,
    lora: adapters.Lora = None,
    control_vector: adapters.ControlVector = None,
    stats: options.Stats = False,
) -> None:
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D ends the conversation, /help lists commands."""
    name = options.one_model(named, model)
    with load(name, engine) as llm:
        if llm.tokenizer.chat_template is None:
            raise TemplateError(f"{name} has no chat template; to continue a text, use realizar run --raw")
        sampling = options.with_cli_defaults(sampling, llm.sampling_defaults)
        sampling = adapters.with_adapters(llm, sampling, lora, control_vector)
        chat = _Chat(llm, Conversation(system), sampling, template_kwargs, stats)
        commands = ChatCommands(chat.conversation, name, _say)
        for text in questions(commands.names):
            before = list(chat.conversation.turns)
            try:
                question = commands.question(text)
            except EOFError:
                return
            if question is not None:
                chat.ask(question, before, is_fresh=question == text.strip())


class _Chat:
    """Asks the model the questions of a conversation, and shows the answers."""

    def __init__(
        self, llm: LLM, conversation: Conversation, sampling: SamplingParams, variables: dict[str, Any] | None,
        has_stats: bool,
    ) -> None:  # fmt: skip
        self._llm = llm
        self.conversation = conversation
        self._sampling = sampling
        self._variables = variables
        self._has_stats = has_stats

    def ask(self, question: str, before: list[Message], is_fresh: bool) -> None:
        """Answer a question.

        In a terminal, errors are shown, and the conversation goes on as if the question had not been asked.

        Parameters
        ----------
        question : str
        before : list of dict
            The turns to go back to if there is no answer.
        is_fresh : bool
            Whether the question is asked for the first time; the seed is not used again.
        """
        self.conversation.ask(question)
        try:
            text = self._answer(self._sampling if is_fresh else replace(self._sampling, seed=None))
        except (RealizarError, KeyboardInterrupt) as error:
            if not is_interactive():
                raise
            text = None
            if isinstance(error, RealizarError):
                _say(f"error: {error}")
        if text is None:
            self.conversation.turns[:] = before
        else:
            self.conversation.answer(text)

    def _answer(self, sampling: SamplingParams) -> str | None:
        """Show the answer, and return it; None if it was stopped before it began."""
        from realizar.cli.answer import write_answer

        answer = self._begin(sampling)
        is_stopped = False

        def stop() -> None:
            nonlocal is_stopped
            is_stopped = True
            answer.close()

        with _on_interrupt(stop):
            text = write_answer(answer)
        if self._has_stats:
            write_stats(answer)
        return None if is_stopped and not text else text

    def _begin(self, sampling: SamplingParams) -> TextStream:
        """Start an answer; drops the oldest turns if the conversation does not fit into the context."""
        while True:
            try:
                return self._llm.chat(
                    self.conversation.messages, sampling, chat_template_kwargs=self._variables, stream=True
                )
            except ContextFullError:
                if not self.conversation.drop_oldest():
                    raise
                _say("the conversation is longer than the context: dropped its oldest turn")


def _say(text: str) -> None:
    """Show what is no answer."""
    print(text if "\n" in text else f"({text})", file=sys.stderr)


@contextmanager
def _on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """Make Ctrl-C call `action` instead of ending the program."""
    before = signal.signal(signal.SIGINT, lambda signum, frame: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
