"""ChatPrompts: renders conversations, with or without tools, to prompt tokens."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.calls.messages import Message, has_tool_calls, normalize_tool_calls
from realizar.calls.tool import read_tools
from realizar.calls.tool_format import ToolCallFormat, message_style
from realizar.calls.tool_use import ToolUse
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.forks import cached_property
from realizar.params import SamplingParams
from realizar.params.per_prompt import no_params
from realizar.tokenizer.messages import checked, joined

if TYPE_CHECKING:
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
    """A rendered conversation: its tokens, the params of the completion, the tools that it may call, and its text."""

    ids: list[int]
    params: SamplingParams
    tools: ToolUse | None
    text: str = ""

    @property
    def prompt(self) -> dict[str, Any]:
        """The tokens and the text, as `LLM.generate` takes them."""
        return {"prompt_token_ids": self.ids, "prompt": self.text}


class ChatPrompts:
    """Renders prompts with one model's chat template. Thread-safe.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def make(
        self, messages: Sequence[Message], params: SamplingParams, tools: Tools | None, choice: object,
        variables: Mapping[str, Any] | None = None, *, parallel: bool = True, continue_final: bool = False,
    ) -> ChatPrompt:  # fmt: skip
        """Return the prompt tokens of a conversation, the params of its completion, and its tool use.

        Parameters
        ----------
        messages : sequence of mapping
        params : SamplingParams
        tools, choice
            See `ToolUse`; without tools, choice must be "auto" or "none".
        variables : mapping, optional
            Additional template variables, such as enable_thinking.
        parallel : bool
            Whether the completion may have several calls.
        continue_final : bool
            Continue the last message, which must be the assistant's, instead of beginning a new one.

        Raises
        ------
        TemplateError
            The model has no chat template, or rendering fails; or see `ToolCallFormat.from_template`.
        ParameterError, GrammarError
            See `ToolUse` and `ToolUse.constrain`; or the variables have invalid names or values.
        """
        begin = time.perf_counter()
        if not isinstance(params, SamplingParams):
            raise no_params(params)
        made = self._made(messages, params, tools, choice, checked_variables(variables), parallel, continue_final)
        if made.params.max_time is not None:  # which counts from the call
            left = made.params.max_time - (time.perf_counter() - begin)
            made = made._replace(params=replace(made.params, max_time=max(left, MIN_TIME_S)))
        return made

    def _made(
        self, messages: Sequence[Message], params: SamplingParams, tools: Tools | None, choice: object,
        defined: dict[str, Any], parallel: bool, continue_final: bool,
    ) -> ChatPrompt:  # fmt: skip
        """See `make`."""
        if tools is None:
            if choice not in ("auto", "none"):
                raise ParameterError(f"tool_choice={short_repr(choice)}: no tools were given; pass tools")
            return self._prompt(messages, None, defined, continue_final, params, None)
        tool_format = self._tool_format
        if isinstance(tool_format, ToolCallFormat):
            if not parallel:
                tool_format = replace(tool_format, between=None)
            use = ToolUse(tool_format, tools, choice, self._tokenizer)
            return self._prompt(messages, tools, defined, continue_final, use.constrain(params), use)
        if choice != "none":
            raise TemplateError(tool_format)
        read_tools(tools)
        return self._prompt(messages, tools, defined, continue_final, params, None)

    def text(
        self, messages: Sequence[Message], tools: Tools | None = None, variables: Mapping[str, Any] | None = None,
        begins_answer: bool = True,
    ) -> ChatText:  # fmt: skip
        """Return the prompt of a conversation as text; parameters and errors as of `make`.

        Unless it `begins_answer`, it ends with the last message.
        """
        return self._render(messages, tools, checked_variables(variables), False, begins_answer)

    def _prompt(
        self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any], continue_final: bool,
        params: SamplingParams, use: ToolUse | None,
    ) -> ChatPrompt:  # fmt: skip
        text = self._render(messages, tools, variables, continue_final)
        # The template renders BOS and the names of special tokens itself.
        ids = self._tokenizer.encode(text, add_special=False, parse_special=True)
        return ChatPrompt(ids, params, use, text)

    def _render(
        self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any], continue_final: bool,
        begins_answer: bool = True,
    ) -> ChatText:  # fmt: skip
        """Return the text of a conversation up to where the assistant goes on."""
        begun = ""
        if continue_final:
            messages, begun = _without_final(messages)
        calls = has_tool_calls(messages)
        template = self._template(tools is not None or calls)
        for name in variables.keys() - template.variables if variables else ():
            warnings.warn(
                f"chat_template_kwargs: this model's chat template does not use {short_repr(name)}", stacklevel=2
            )
        written = normalize_tool_calls(messages, *self._message_style) if calls else normalize_tool_calls(messages)
        if not begins_answer:
            return ChatText(template.render(written, False, tools=tools, **variables))
        return ChatText(template.render(written, tools=tools, **variables) + begun)

    def _template(self, for_tools: bool) -> ChatTemplate:
        tokenizer = self._tokenizer
        template = (for_tools and tokenizer.tool_template) or tokenizer.chat_template
        if template is None:
            raise TemplateError(
                "this model has no chat template; use generate with a prompt in the format its model card describes"
            )
        return template

    @cached_property
    def _tool_format(self) -> ToolCallFormat | str:
        """The model's tool-call format, or the error message why it cannot be inferred."""
        ends = [self._tokenizer.token_bytes(i).decode() for i in sorted(self._tokenizer.eog_ids)]
        try:
            return ToolCallFormat.from_template(self._template(True), ends)
        except TemplateError as error:
            return str(error)

    @cached_property
    def _message_style(self) -> tuple[bool, str | None]:
        """The style in which the template expects earlier tool calls; see `normalize_tool_calls`."""
        return message_style(self._template(True))


def _without_final(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """Return the messages before the last one, and the text of that one, which the assistant is to continue."""
    known = checked(messages)
    last = known[-1]
    if last["role"] != "assistant" or last.get("tool_calls"):
        raise ParameterError(
            "continue_final_message: the last message must be the assistant's and have text only, found role "
            f"{short_repr(last['role'])}"
        )
    return messages[:-1], joined(last["content"])


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
