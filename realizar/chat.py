"""Prompts of conversations: the methods of `LLM` and `AsyncLLM` that render messages with a chat template."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from realizar.calls import ChatOptions, ChatPrompt, ChatPrompts, ChatText, HFTokenizer
from realizar.calls.messages import conversations_of
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.forks import Lock, cached_property
from realizar.loaded import DEFAULT, LoadedModel, Messages, ToolChoice, Tools
from realizar.params import SamplingParams
from realizar.params.adapters import Lora
from realizar.params.per_prompt import params_of_each

if TYPE_CHECKING:
    from realizar.engine.request import TextRequest
    from realizar.pictures.conversation import MediaReader
    from realizar.tokenizer import Tokenizer

Template = str | os.PathLike[str]
"""The text of a chat template, or the path of a file that contains it."""


class ChatKeywords(TypedDict, total=False):
    """The keywords of `LLM.chat` besides `stream`."""

    sampling_params: SamplingParams | Sequence[SamplingParams] | None
    lora: Lora
    tools: Tools | None
    tool_choice: ToolChoice
    chat_template: Template | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool
    add_generation_prompt: bool | None
    priority: int


_MAX_TEMPLATES = 8
"""Templates given by callers that are kept compiled; the one added first goes first."""


class ChatModel(LoadedModel):
    """A loaded model that renders conversations."""

    def chat_prompt(
        self, messages: Messages, params: SamplingParams = DEFAULT, *, tools: Tools | None = None,
        tool_choice: ToolChoice = "auto", parallel_tool_calls: bool = True, chat_template: Template | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None, continue_final_message: bool = False,
        add_generation_prompt: bool | None = None,
    ) -> ChatPrompt:  # fmt: skip
        """Render a conversation without answering it. `events` and `stream` accept the result as a prompt.

        Parameters
        ----------
        messages, params, tools, tool_choice, chat_template, chat_template_kwargs, continue_final_message, \
add_generation_prompt
            See `LLM.chat`.
        parallel_tool_calls : bool
            Whether the answer may have several calls.

        Returns
        -------
        ChatPrompt

        Raises
        ------
        TemplateError, GrammarError, ParameterError
            See `LLM.chat`.
        """
        options = ChatOptions(
            tools, tool_choice, chat_template_kwargs, parallel_tool_calls, continue_final_message, add_generation_prompt
        )
        return self._prompts_of(chat_template).make(messages, params, options)

    def chat_text(
        self, messages: Messages, *, tools: Tools | None = None, chat_template: Template | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None, continue_final_message: bool = False,
        add_generation_prompt: bool | None = None,
    ) -> ChatText:  # fmt: skip
        """Return the prompt of a conversation as text. Raises as `chat_prompt`."""
        options = ChatOptions(tools, "auto", chat_template_kwargs, True, continue_final_message, add_generation_prompt)
        return self._prompts_of(chat_template).text(messages, options)

    def get_tokenizer(self) -> HFTokenizer:
        """Return the model's tokenizer with the methods of transformers' tokenizers, such as apply_chat_template."""
        return HFTokenizer(self.tokenizer, self._prompts_of)

    @property
    def has_reasoning(self) -> bool:
        """Whether an answer may have reasoning before its text, by the model's chat template."""
        return self._prompts.reasoning_style.markers is not None

    def _one_prompt(self, messages: Any, params: Any, options: ChatOptions, template: Template | None) -> ChatPrompt:
        """Return the prompt of a conversation whose answer is streamed."""
        several, conversations = conversations_of(messages)
        if several:
            raise ParameterError(f"stream: {len(conversations)} conversations cannot be one stream; pass one")
        return self._prompts_of(template).make(messages, DEFAULT if params is None else params, options)

    def _chat_requests(
        self, conversations: Sequence[Messages], params: SamplingParams | Iterable[SamplingParams] | None,
        options: ChatOptions, template: Template | None, priority: int,
    ) -> list[TextRequest]:  # fmt: skip
        """Submit the requests of conversations, each with its params; all of them or none."""
        prompts = self._prompts_of(template)
        each = params_of_each(DEFAULT if params is None else params, len(conversations))

        def made(i: int) -> ChatPrompt:
            try:
                return prompts.make(conversations[i], each[i], options)
            except (TemplateError, ParameterError) as error:
                if len(conversations) == 1:
                    raise
                raise type(error)(f"conversation {i}: {error}") from error

        return self._all_or_none(self._text_request(made(i), DEFAULT, priority) for i in range(len(conversations)))

    def _prompts_of(self, template: Template | None) -> ChatPrompts:
        """Return the prompts by a template; by default the model's."""
        return self._prompts if template is None else self._given.prompts(template_text(template))

    @cached_property
    def _prompts(self) -> ChatPrompts:
        return ChatPrompts(self.tokenizer, None, self.media_reader)

    @cached_property
    def _given(self) -> _GivenTemplates:
        return _GivenTemplates(self.tokenizer, self.media_reader)


class _GivenTemplates:
    """Prompts by the templates that callers gave, of which some are kept. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, media: MediaReader | None) -> None:
        self._tokenizer, self._media = tokenizer, media
        self._lock = Lock()
        self._known: dict[str, ChatPrompts] = {}

    def prompts(self, source: str) -> ChatPrompts:
        """Return the prompts by a template."""
        with self._lock:
            if source not in self._known:
                while len(self._known) >= _MAX_TEMPLATES:
                    del self._known[next(iter(self._known))]
                self._known[source] = ChatPrompts(self._tokenizer, source, self._media)
            return self._known[source]


def template_text(template: Template) -> str:
    """Return the text of a chat template that is given as text or as a path.

    Raises
    ------
    ParameterError
        It is neither, or the file cannot be read.
    """
    if not isinstance(template, (str, os.PathLike)):
        raise ParameterError(
            f"chat_template={short_repr(template)}: must be the text of a template, or the path of a file"
        )
    if isinstance(template, str) and any(mark in template for mark in "{}\n"):
        return template
    try:
        return Path(template).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the path
        raise ParameterError(
            f"chat_template={short_repr(template)}: is no template, which would have braces, and cannot be read as a "
            f"file: {error}"
        ) from None
