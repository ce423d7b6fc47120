"""ChatPrompts: conversations, with or without tools, to the tokens of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.form import CallForm
from realizar.calls.messages import Message, have_calls, with_calls
from realizar.calls.use import ToolUse
from realizar.errors import ParameterError, TemplateError, shown
from realizar.forks import cached_property

if TYPE_CHECKING:
    from realizar.params import SamplingParams
    from realizar.tokenizer import ChatTemplate, Tokenizer

    Tools = Sequence[Mapping[str, Any]]


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
        self, messages: Sequence[Message], params: SamplingParams, tools: Tools | None, choice: object
    ) -> tuple[list[int], SamplingParams, ToolUse | None]:
        """Return the prompt of a conversation, the params of its answer, and what that may call.

        Parameters
        ----------
        messages : sequence of mapping
        params : SamplingParams
        tools, choice
            As `ToolUse` takes them; without tools nothing can be chosen.

        Raises
        ------
        TemplateError
            The model has no chat template, or it fails on these messages; or as `CallForm.learn`.
        ParameterError, GrammarError
            As `ToolUse` and `ToolUse.constrain`.
        """
        if tools is None:
            if choice not in ("auto", "none"):
                raise ParameterError(f"tool_choice={shown(choice)}: there is nothing to choose from; give tools")
            return self._encode(messages, None), params, None
        use = ToolUse(self._form, tools, choice, self._tokenizer)
        return self._encode(messages, tools), use.constrain(params), use

    def _encode(self, messages: Sequence[Message], tools: Tools | None) -> list[int]:
        """Return the tokens of a conversation up to where the model answers."""
        calls = have_calls(messages)
        template = self._template(tools is not None or calls)
        text = template.render(with_calls(messages, *self._wanted) if calls else with_calls(messages), tools=tools)
        # The template writes BOS and the names of special tokens itself.
        return self._tokenizer.encode(text, add_special=False, parse_special=True)

    def _template(self, for_tools: bool) -> ChatTemplate:
        tokenizer = self._tokenizer
        template = (for_tools and tokenizer.tool_template) or tokenizer.chat_template
        if template is None:
            raise TemplateError("this model has no chat template; use generate with a prompt as its card shows it")
        return template

    @cached_property
    def _form(self) -> CallForm:
        ends = [self._tokenizer.token_bytes(i).decode() for i in sorted(self._tokenizer.eog_ids)]
        return CallForm.learn(self._template(True), ends)

    @property
    def _wanted(self) -> tuple[bool, str | None]:
        """What the template takes the calls of earlier answers for; see `with_calls`."""
        try:
            return self._form.arguments_as_text, self._form.no_content
        except TemplateError:  # they may be there all the same, in a conversation that another model began
            return False, None
