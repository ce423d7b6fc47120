"""ChatPrompts: renders conversations, with or without tools, to prompt tokens."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realizar.calls.messages import Message, has_tool_calls, normalize_tool_calls
from realizar.calls.tool import read_tools
from realizar.calls.tool_format import ToolCallFormat, message_style
from realizar.calls.tool_use import ToolUse
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.forks import cached_property

if TYPE_CHECKING:
    from realizar.params import SamplingParams
    from realizar.tokenizer import ChatTemplate, Tokenizer

    Tools = Sequence[Mapping[str, Any]]

_RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that the caller cannot set."""

MIN_TIME_S = 1e-6
"""The least `max_time`, of a request whose prompt has taken all of it: its deadline is over when it is submitted."""


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
        variables: Mapping[str, Any] | None = None,
    ) -> tuple[list[int], SamplingParams, ToolUse | None]:  # fmt: skip
        """Return the prompt tokens of a conversation, the params of its completion, and its tool use.

        Parameters
        ----------
        messages : sequence of mapping
        params : SamplingParams
        tools, choice
            See `ToolUse`; without tools, choice must be "auto" or "none".
        variables : mapping, optional
            Additional template variables, such as enable_thinking.

        Raises
        ------
        TemplateError
            The model has no chat template, or rendering fails; or see `ToolCallFormat.from_template`.
        ParameterError, GrammarError
            See `ToolUse` and `ToolUse.constrain`; or the variables have invalid names or values.
        """
        begin = time.perf_counter()
        tokens, params, use = self._made(messages, params, tools, choice, _checked(variables))
        if params.max_time is not None:  # which counts from the call
            left = params.max_time - (time.perf_counter() - begin)
            params = replace(params, max_time=max(left, MIN_TIME_S))
        return tokens, params, use

    def _made(
        self, messages: Sequence[Message], params: SamplingParams, tools: Tools | None, choice: object,
        checked: dict[str, Any],
    ) -> tuple[list[int], SamplingParams, ToolUse | None]:  # fmt: skip
        """See `make`."""
        if tools is None:
            if choice not in ("auto", "none"):
                raise ParameterError(f"tool_choice={short_repr(choice)}: no tools were given; pass tools")
            return self._encode(messages, None, checked), params, None
        tool_format = self._tool_format
        if isinstance(tool_format, ToolCallFormat):
            use = ToolUse(tool_format, tools, choice, self._tokenizer)
            return self._encode(messages, tools, checked), use.constrain(params), use
        if choice != "none":
            raise TemplateError(tool_format)
        read_tools(tools)
        return self._encode(messages, tools, checked), params, None

    def _encode(self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any]) -> list[int]:
        """Return the tokens of a conversation up to the start of the assistant's turn."""
        calls = has_tool_calls(messages)
        template = self._template(tools is not None or calls)
        for name in variables.keys() - template.variables if variables else ():
            warnings.warn(f"chat_template_kwargs: this model's chat template does not use {name}", stacklevel=2)
        written = normalize_tool_calls(messages, *self._message_style) if calls else normalize_tool_calls(messages)
        text = template.render(written, tools=tools, **variables)
        # The template renders BOS and the names of special tokens itself.
        return self._tokenizer.encode(text, add_special=False, parse_special=True)

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


def _checked(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return validated template variables; raises ParameterError for invalid names or values."""
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
                f"chat_template_kwargs: {name}={short_repr(value)}: must be JSON-serializable; {error}"
            ) from None
    return dict(variables)
