"""ModelFormat: the format of tool calls of one model, and what its chat template needs for conversations with tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from realizar.calls import formats
from realizar.calls.messages import Message, normalize_tool_calls, read_call, with_instructions
from realizar.calls.probe import has_tools, learned_format, message_style
from realizar.errors import TemplateError

if TYPE_CHECKING:
    from realizar.calls.chat_format import ChatFormat
    from realizar.calls.tool_format import ToolCallFormat
    from realizar.tokenizer import ChatTemplate

    Tools = Sequence[Mapping[str, Any]]

_NO_SECTION = (
    "this model's chat template has no section for tools, so the model was not trained to call them; "
    "describe the wanted output in the messages and enforce it with json_schema"
)
_UNKNOWN = (
    "this model's chat template has a section for tools, but its tool-call format is not supported; supported are "
    "formats with a start marker, the name, and the arguments as a JSON object, and those in docs/tools.md; a plugin "
    "can add others (the hook realizar_chat_formats)"
)


class ModelFormat(NamedTuple):
    """The format of tool calls of one model.

    Attributes
    ----------
    calls : ToolCallFormat or None
    declared : ChatFormat or None
        Where the format comes from; None if it was learned from the template.
    style : (bool, str or None)
        How the template expects earlier calls; see `message_style`.
    problem : str
        Why `calls` is None.
    """

    calls: ToolCallFormat | None
    declared: ChatFormat | None
    style: tuple[bool, str | None]
    problem: str = ""

    @classmethod
    def of(cls, template: ChatTemplate, ends: Iterable[str]) -> ModelFormat:
        """Learn the format from a chat template, or find the declared one that it uses.

        Parameters
        ----------
        template : ChatTemplate
        ends : iterable of str
            Texts of the end-of-generation tokens.
        """
        names, style = list(ends), message_style(template)
        try:
            has_section = has_tools(template)
        except TemplateError as error:
            has_section, problem = False, str(error)
        else:
            problem = _UNKNOWN if has_section else _NO_SECTION
        found = formats.shipped(template, names)
        learned = learned_format(template, names) if has_section and found is None else None
        if learned is not None:
            return cls(learned, None, style)
        found = found or formats.of_plugins(template, names)
        return cls(None, None, style, problem) if found is None else cls(found[1], found[0], style)

    def for_template(
        self, messages: Sequence[Message], tools: Tools | None
    ) -> tuple[Sequence[Message], dict[str, Any]]:
        """Return messages as the template expects them, and its variables for the tools.

        Raises
        ------
        TemplateError
            A call is malformed.
        """
        declared = self.declared
        if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
            return messages, {"tools": tools}  # rendering raises the error
        if declared is None or self.calls is None:
            return normalize_tool_calls(messages, *self.style), {"tools": tools}
        if declared.writes_calls:
            messages = normalize_tool_calls(messages)
            messages = [_as_text(message, self.calls) for message in messages]
        else:
            messages = normalize_tool_calls(messages, *self.style)
        if tools is not None and declared.describe is not None:
            return with_instructions(messages, declared.describe(tools)), {}
        return messages, {} if tools is None else declared.variables(tools)


def _as_text(message: Message, calls: ToolCallFormat) -> Message:
    """Return a message whose calls are part of its content."""
    if not isinstance(message, Mapping) or not message.get("tool_calls"):
        return message
    written = calls.write([read_call(call) for call in message["tool_calls"]])
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "content": (message.get("content") or "") + written}
