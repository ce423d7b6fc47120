"""ChatPrompts: conversations, with or without tools, to the tokens of a prompt."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.form import CallForm, taken
from realizar.calls.messages import Message, have_calls, with_calls
from realizar.calls.tool import read_tools
from realizar.calls.use import ToolUse
from realizar.errors import ParameterError, TemplateError, shown
from realizar.forks import cached_property

if TYPE_CHECKING:
    from realizar.params import SamplingParams
    from realizar.tokenizer import ChatTemplate, Tokenizer

    Tools = Sequence[Mapping[str, Any]]

_OURS = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
"""Variables of a template that are not the caller's to set."""


class ChatPrompts:
    """Makes prompts by the chat template of one model; may be used by many threads at once.

    Parameters
    ----------
    tokenizer : Tokenizer
        The model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def make(
        self, messages: Sequence[Message], params: SamplingParams, tools: Tools | None, choice: object,
        variables: Mapping[str, Any] | None = None,
    ) -> tuple[list[int], SamplingParams, ToolUse | None]:  # fmt: skip
        """Return the prompt of a conversation, the params of its answer, and what that may call.

        Parameters
        ----------
        messages : sequence of mapping
        params : SamplingParams
        tools, choice
            As `ToolUse` takes them; without tools nothing can be chosen.
        variables : mapping, optional
            What else the template is told, such as enable_thinking.

        Raises
        ------
        TemplateError
            The model has no chat template, or it fails on these messages; or as `CallForm.learn`.
        ParameterError, GrammarError
            As `ToolUse` and `ToolUse.constrain`; or the variables are none that a template can be given.
        """
        given = _checked(variables)
        if tools is None:
            if choice not in ("auto", "none"):
                raise ParameterError(f"tool_choice={shown(choice)}: there is nothing to choose from; give tools")
            return self._encode(messages, None, given), params, None
        form = self._form
        if isinstance(form, CallForm):
            use = ToolUse(form, tools, choice, self._tokenizer)
            return self._encode(messages, tools, given), use.constrain(params), use
        if choice != "none":
            raise TemplateError(form)
        read_tools(tools)
        return self._encode(messages, tools, given), params, None

    def _encode(self, messages: Sequence[Message], tools: Tools | None, variables: dict[str, Any]) -> list[int]:
        """Return the tokens of a conversation up to where the model answers."""
        calls = have_calls(messages)
        template = self._template(tools is not None or calls)
        for name in variables.keys() - template.variables if variables else ():
            warnings.warn(f"chat_template_kwargs: this model's chat template does not use {name}", stacklevel=2)
        written = with_calls(messages, *self._taken) if calls else with_calls(messages)
        text = template.render(written, tools=tools, **variables)
        # The template writes BOS and the names of special tokens itself.
        return self._tokenizer.encode(text, add_special=False, parse_special=True)

    def _template(self, for_tools: bool) -> ChatTemplate:
        tokenizer = self._tokenizer
        template = (for_tools and tokenizer.tool_template) or tokenizer.chat_template
        if template is None:
            raise TemplateError("this model has no chat template; use generate with a prompt as its card shows it")
        return template

    @cached_property
    def _form(self) -> CallForm | str:
        """How the model writes calls, or why that is not known."""
        ends = [self._tokenizer.token_bytes(i).decode() for i in sorted(self._tokenizer.eog_ids)]
        try:
            return CallForm.learn(self._template(True), ends)
        except TemplateError as error:
            return str(error)

    @cached_property
    def _taken(self) -> tuple[bool, str | None]:
        """What the template takes the calls of earlier answers for; see `with_calls`."""
        return taken(self._template(True))


def _checked(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return variables for a template; ParameterError if it can be given none of these names or values."""
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise ParameterError(f"chat_template_kwargs={shown(variables)}: must be a mapping of names to values")
    for name, value in variables.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _OURS:
            raise ParameterError(
                f"chat_template_kwargs: {shown(name)} cannot be set; variables have names of letters, digits and _, "
                f"and none of {', '.join(_OURS)}"
            )
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                f"chat_template_kwargs: {name}={shown(value)}: must be a value that JSON can express; {error}"
            ) from None
    return dict(variables)
