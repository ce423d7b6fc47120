"""ChatPrompts: renders conversations, with or without tools, to prompt tokens."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.calls import formats
from realizar.calls.continued import continued_prompt
from realizar.calls.messages import Message, has_tool_calls, normalize_tool_calls
from realizar.calls.model_format import ModelFormat
from realizar.calls.reasoning import Reasoning
from realizar.calls.reasoning_style import ReasoningStyle, in_style, without_reasoning_beside_text
from realizar.calls.tool import read_tools
from realizar.calls.tool_use import ToolUse
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.forks import cached_property
from realizar.params import SamplingParams
from realizar.params.per_prompt import is_parts, no_params
from realizar.params.prompt import n_rows
from realizar.pictures.conversation import Given, take_media, with_texts

if TYPE_CHECKING:
    from realizar.pictures.conversation import MediaReader
    from realizar.pictures.kind import MediaKind
    from realizar.tokenizer import ChatTemplate, Tokenizer

    Tools = Sequence[Mapping[str, Any]]

_RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that the caller cannot set."""

MIN_TIME_S = 1e-6
"""The least `max_time`, of a request whose prompt has taken all of it: its deadline is over when it is submitted."""


class ChatText(str):
    """The text of a rendered conversation, in which names of special tokens are special tokens.

    `LLM.generate` tokenizes it as `LLM.chat` does; any other text, also one made from it, has plain text only.
    """

    __slots__ = ()


class ChatPrompt(NamedTuple):
    """A rendered conversation.

    Attributes
    ----------
    ids : list of int, or list of Tokens and Embeddings
        Token ids of the prompt; with pictures or sounds, its parts.
    params : SamplingParams
        Those of the completion, which enforce the format of its tool calls.
    tools : ToolUse or None
        The tools that the completion may call.
    reasoning : Reasoning or None
        The reasoning that the completion may have.
    text : str or None
        The text of the prompt.
    """

    ids: Any
    params: SamplingParams
    tools: ToolUse | None = None
    reasoning: Reasoning | None = None
    text: str | None = None

    @property
    def n_tokens(self) -> int:
        """Number of rows of the prompt: tokens, and those of pictures and sounds."""
        return sum(map(n_rows, self.ids)) if is_parts(self.ids) else len(self.ids)

    @property
    def prompt(self) -> dict[str, Any]:
        """The tokens and the text, as `LLM.generate` takes them."""
        return {"prompt_token_ids": self.ids, "prompt": self.text}


class ChatOptions(NamedTuple):
    """How a conversation is rendered; see `LLM.chat`.

    Attributes
    ----------
    tools, choice
        See `ToolUse`; without tools, choice must be "auto" or "none".
    variables : mapping, optional
        Additional template variables, such as enable_thinking.
    parallel : bool
        Whether the completion may have several calls.
    continue_final : bool
        Continue the last message, which must be the assistant's, instead of beginning a new one.
    begin : bool, optional
        Whether the prompt ends with the beginning of a new message; by default unless one is continued.
    """

    tools: Tools | None = None
    choice: object = "auto"
    variables: Mapping[str, Any] | None = None
    parallel: bool = True
    continue_final: bool = False
    begin: bool | None = None


_DEFAULT = ChatOptions()


class ChatPrompts:
    """Renders prompts with one chat template. Thread-safe.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's tokenizer.
    source : str, optional
        A chat template that replaces the model's own, for conversations with tools, too.
    media : MediaReader, optional
        Reads pictures and sounds, if the model has an encoder.
    """

    def __init__(self, tokenizer: Tokenizer, source: str | None = None, media: MediaReader | None = None) -> None:
        self._tokenizer = tokenizer
        self._media = media
        self._given = None if source is None else tokenizer.template(source)

    def make(self, messages: Sequence[Message], params: SamplingParams, options: ChatOptions = _DEFAULT) -> ChatPrompt:
        """Return the prompt tokens of a conversation, the params of its completion, its tools and its reasoning.

        Raises
        ------
        TemplateError
            The model has no chat template, or rendering fails; or the format of its calls is unknown.
        ParameterError, GrammarError
            See `ToolUse` and `ToolUse.constrain`; or the options are invalid.
        """
        begin = time.perf_counter()
        if not isinstance(params, SamplingParams):
            raise no_params(params)
        made = self._made(messages, params, options._replace(variables=checked_variables(options.variables)))
        if made.params.max_time is not None:  # which counts from the call
            left = made.params.max_time - (time.perf_counter() - begin)
            made = made._replace(params=replace(made.params, max_time=max(left, MIN_TIME_S)))
        return made

    def _made(self, messages: Sequence[Message], params: SamplingParams, options: ChatOptions) -> ChatPrompt:
        """See `make`."""
        tools, choice = options.tools, options.choice
        if tools is None:
            if choice not in ("auto", "none"):
                raise ParameterError(f"tool_choice={short_repr(choice)}: no tools were given; pass tools")
            calls = self._format.calls if formats.has_headers(self._template(False)) else None
            use = None if calls is None else ToolUse(calls, None, "none", self._tokenizer)
            return self._prompt(messages, params, options)._replace(tools=use)
        found = self._format
        if found.calls is None:
            if choice != "none":
                raise TemplateError(found.problem)
            read_tools(tools)
            return self._prompt(messages, params, options)
        calls = found.calls if options.parallel else replace(found.calls, between=None)
        use = ToolUse(calls, tools, choice, self._tokenizer)
        return self._prompt(messages, use.constrain(params), options)._replace(tools=use)

    def text(self, messages: Sequence[Message], options: ChatOptions = _DEFAULT) -> ChatText:
        """Return the prompt of a conversation as text; errors as of `make`."""
        messages, _ = self._without_media(messages)
        return self._rendered(messages, options._replace(variables=checked_variables(options.variables)))[0]

    def _prompt(self, messages: Sequence[Message], params: SamplingParams, options: ChatOptions) -> ChatPrompt:
        messages, given = self._without_media(messages)
        text, reasoning = self._rendered(messages, options)

        def encode(text: str) -> list[int]:  # the template renders BOS and the names of special tokens itself
            return self._tokenizer.encode(text, add_special=False, parse_special=True)

        ids = encode(text) if self._media is None or not given else self._media.prompt(text, given, encode)
        return ChatPrompt(ids, params, None, reasoning, text)

    def _without_media(self, messages: Sequence[Message]) -> tuple[Sequence[Message], list[Given]]:
        """Return messages in which pictures and sounds have the form that the template knows, and these."""
        messages, given = take_media(messages)
        for kind in {one.kind: None for one in given}:
            if self._media is None:
                raise kind.error(
                    f"the conversation has {kind.noun}s, but the model has no encoder of them: give its mmproj file "
                    "(mmproj=), or put it beside the model"
                )
            marker = self._media.placeholder(kind)
            if not self._writes(self._template(False), kind, marker):
                messages = with_texts(messages, kind.part, marker)
        return messages, given

    def _writes(self, template: ChatTemplate, kind: MediaKind, marker: str) -> bool:
        """Whether a template marks a picture or a sound with the placeholder of the encoder."""
        parts: list[dict[str, str]] = [dict(kind.part), {"type": "text", "text": "A question."}]
        try:
            return template.render([{"role": "user", "content": parts}]).count(marker) == 1
        except TemplateError:
            return False

    def _rendered(self, messages: Sequence[Message], options: ChatOptions) -> tuple[ChatText, Reasoning | None]:
        """Return the text of a conversation up to where the assistant goes on, and the reasoning that may follow."""
        if options.continue_final and options.begin:
            raise ParameterError(
                "continue_final_message and add_generation_prompt: the prompt ends with a message to be continued, or "
                "with the beginning of a new one; give one of them"
            )
        calls, variables = has_tool_calls(messages), options.variables or {}
        template = self._template(options.tools is not None or calls)
        for name in variables.keys() - template.variables if variables else ():
            warnings.warn(
                f"chat_template_kwargs: this model's chat template does not use {short_repr(name)}", stacklevel=2
            )

        def render(messages: Sequence[Message], begins: bool) -> str:
            own: dict[str, Any] = {}
            if options.tools is None and not calls:
                written = normalize_tool_calls(messages)
            else:
                written, own = self._format.for_template(messages, options.tools)
            try:
                return template.render(written, begins, **{**own, **variables})
            except TemplateError:
                fewer = without_reasoning_beside_text(written)
                if fewer is None:
                    raise
                return template.render(fewer, begins, **{**own, **variables})

        style = self.reasoning_style
        messages = in_style(messages, style.key)
        if options.continue_final:
            text, state = continued_prompt(messages, style, render)
        else:
            text = render(messages, options.begin is not False)
            state = "closed" if style.markers is None else style.markers.state_after(text)
        return ChatText(text), None if style.markers is None else Reasoning(style.markers, state)

    def _template(self, for_tools: bool) -> ChatTemplate:
        tokenizer = self._tokenizer
        template = self._given or (for_tools and tokenizer.tool_template) or tokenizer.chat_template
        if template is None:
            raise TemplateError(
                "this model has no chat template; use generate with a prompt in the format its model card describes"
            )
        return template

    @cached_property
    def _format(self) -> ModelFormat:
        """The model's format of tool calls."""
        ends = [self._tokenizer.token_bytes(i).decode() for i in sorted(self._tokenizer.eog_ids)]
        return ModelFormat.of(self._template(True), ends)

    @cached_property
    def reasoning_style(self) -> ReasoningStyle:
        """How the model writes its reasoning, and how the template reads it."""
        template = self._template(False)
        style, declared = ReasoningStyle.from_template(template), formats.reasoning_of(template)
        return style if declared is None else style._replace(markers=declared)


def checked_variables(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return validated template variables.

    Raises
    ------
    ParameterError
        If a name or a value is invalid.
    """
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise ParameterError(f"chat_template_kwargs={short_repr(variables)}: must be a mapping of names to values")
    for name, value in variables.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
            raise ParameterError(
                f"chat_template_kwargs: {short_repr(name)} cannot be set; names are Python identifiers and "
                f"not one of {', '.join(_RESERVED)}"
            )
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                f"chat_template_kwargs: {name[:80]}={short_repr(value)}: must be JSON-serializable; {error}"
            ) from None
    return dict(variables)
