"""ChatFormat: a declared form of tool calls; what plugins provide by the hook `realizar_chat_formats`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from realizar.calls.notation import Notation
from realizar.calls.probe import has_tools, learned_format, writes_calls
from realizar.calls.reasoning import ReasoningFormat
from realizar.calls.tool_format import ToolCallFormat
from realizar.errors import TemplateError

if TYPE_CHECKING:
    from realizar.tokenizer import ChatTemplate

Tools = Sequence[Mapping[str, Any]]


def _as_tools(tools: Tools) -> dict[str, Any]:
    return {"tools": tools}


@dataclass(frozen=True)
class ChatFormat:
    """A form of tool calls, and how to recognize it in a chat template.

    It is recognized where the template contains all texts of `contains` and writes calls in this form. The texts around
    names and arguments, with their white space, are those of the template.

    Attributes
    ----------
    name : str
    contains : tuple of str
        Texts in the source of the template.
    arguments : Notation, optional
        How the arguments of a call are written; None if `calls` says it.
    marker : str
        What distinguishes calls from text, if it is not a tag at the beginning of the first call.
    closing : str, optional
        What ends the calls, if the template writes more than the model.
    calls : ToolCallFormat, optional
        All of the format. A template that writes calls must write them so; that is not checked for a subclass, whose
        form cannot be learned.
    writes_calls : bool
        Whether the template does not write the calls of earlier turns, so that `calls` has to do it.
    variables : callable
        Returns the variables of the template for tools.
    describe : callable, optional
        Returns the text that describes tools to the model, to be added to the system message, for templates without a
        section for tools.
    reasoning : ReasoningFormat, optional
        The markers around reasoning.
    """

    name: str
    contains: tuple[str, ...] = ()
    arguments: Notation | None = None
    marker: str = ""
    closing: str | None = None
    calls: ToolCallFormat | None = None
    writes_calls: bool = False
    variables: Callable[[Tools], dict[str, Any]] = _as_tools
    describe: Callable[[Tools], str] | None = None
    reasoning: ReasoningFormat | None = None

    def recognized(self, template: ChatTemplate, ends: Iterable[str]) -> ToolCallFormat | None:
        """Return the format of calls in a template; None if it is another one.

        Parameters
        ----------
        template : ChatTemplate
        ends : iterable of str
            Texts of the end-of-generation tokens.
        """
        if not all(text in template.source for text in self.contains):
            return None
        try:
            if self.describe is None and not has_tools(template, self.variables):
                return None
        except TemplateError:
            return None
        if self.writes_calls:
            return None if writes_calls(template, self.variables) else self.calls
        if self.calls is not None and type(self.calls) is not ToolCallFormat:
            return self.calls
        notation = self.arguments if self.calls is None else self.calls.arguments
        found = learned_format(template, ends, notation, self.marker, self.variables)
        if found is not None and self.closing is not None:
            found = replace(found, closing=self.closing)
        return found if self.calls in (None, found) else None
