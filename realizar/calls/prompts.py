"""ChatPrompts: renders conversations, with or without tools, to prompt tokens."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.calls.messages import Message, has_tool_calls, normalize_tool_calls
from realizar.calls.model_format import ModelFormat
from realizar.calls.tool import read_tools
from realizar.calls.tool_use import ToolUse
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.forks import cached_property
from realizar.tokenizer.messages import checked, joined

if TYPE_CHECKING:
    from realizar.params import SamplingParams
    from realizar.tokenizer import ChatTemplate, Tokenizer

    Tools = Sequence[Mapping[str, Any]]

_RESERVED = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Template variables that the caller cannot set."""

MIN_TIME_S = 1e-6
"""The least `max_time`, of a request whose prompt has taken all of it: its deadline is over when it is submitted."""


class ChatPrompt(NamedTuple):
    """A rendered conversation: its tokens, the params of the completion, and the tools that it may call."""

    ids: list[int]
    params: SamplingParams
    tools: ToolUse | None


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
        if tools is None and choice not in ("auto", "none"):
            raise ParameterError(f"tool_choice={short_repr(choice)}: no tools were given; pass tools")
        found = self._format
        if tools is None:
            use = ToolUse(found.calls, None, "none", self._tokenizer) if found.calls and found.calls.headers else None
            return ChatPrompt(self._ids(messages, None, defined, continue_final), params, use)
        if found.calls is None:
            if choice != "none":
                raise TemplateError(found.problem)
            read_tools(tools)
            return ChatPrompt(self._ids(messages, tools, defined, continue_final), params, None)
        calls = found.calls if parallel else replace(found.calls, between=None)
        use = ToolUse(calls, tools, choice, self._tokenizer)
        return ChatPrompt(self._ids(messages, tools, defined, continue_final), use.constrain(params), use)

    def text(
        self, messages: Sequence[Message], tools: Tools | None = None, variables: Mapping[str, Any] | None = None
    ) -> str:
        """Return the prompt of a conversation as text; parameters and errors as of `make`."""
        return self._render(messages, tools, checked_variables(variables), continue_final=False)

    def _ids(
        self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any], continue_final: bool
    ) -> list[int]:
        text = self._render(messages, tools, variables, continue_final)
        # The template renders BOS and the names of special tokens itself.
        return self._tokenizer.encode(text, add_special=False, parse_special=True)

    def _render(
        self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any], continue_final: bool
    ) -> str:
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
        if tools is None and not calls:
            return template.render(normalize_tool_calls(messages), tools=None, **variables) + begun
        written, own = self._format.for_template(messages, tools)
        return template.render(written, **{**own, **variables}) + begun

    def _template(self, for_tools: bool) -> ChatTemplate:
        tokenizer = self._tokenizer
        template = (for_tools and tokenizer.tool_template) or tokenizer.chat_template
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
