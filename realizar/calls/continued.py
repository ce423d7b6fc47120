"""The prompt of a conversation whose last message the assistant continues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from realizar.calls.reasoning_style import ReasoningStyle, reasoning_of, with_reasoning
from realizar.errors import ParameterError, TemplateError, short_repr
from realizar.tokenizer.messages import checked, joined

if TYPE_CHECKING:
    from realizar.calls.reasoning import ReasoningState
    from realizar.calls.reasoning_style import Message

    Render = Callable[[Sequence[Message], bool], str]

_END = "xyzzyend"
"""Marks the end of the last message, which a template may trim, in the rendered text; no template contains it."""


def continued_prompt(messages: Sequence[Message], style: ReasoningStyle, render: Render) -> tuple[str, ReasoningState]:
    """Return the prompt of messages up to the end of the last one, and where in the reasoning the completion begins.

    The template renders the message, and the text is cut at its end. Where a template loses its text or reasoning (R1
    drops what was thought), they are written after the prompt of a new message.

    Parameters
    ----------
    messages : sequence of mapping
        The last one is the assistant's, with text, or reasoning, or both.
    style : ReasoningStyle
    render : callable
        Renders messages; its second argument is whether a new message of the assistant begins at their end.

    Raises
    ------
    ParameterError
        The last message is not the assistant's, or has tool calls, or has reasoning although the model has none.
    TemplateError
        A message is malformed, or the template fails.
    """
    last = _last(messages)
    reasoning, answer = reasoning_of(last), joined(last.get("content") or "")
    markers = style.markers
    if reasoning is not None and markers is None:
        raise ParameterError("continue_final_message: the last message has reasoning, but this model has none")
    if reasoning is None and markers is not None and (found := markers.parse(answer)) is not None:
        reasoning, answer = found[0], found[1] or ""
    if not (reasoning or answer):
        prompt = render(messages[:-1], True)
        return prompt, "closed" if markers is None else markers.state_after(prompt)
    state: ReasoningState = "closed" if answer else "open"
    thought = reasoning if answer or reasoning is None else reasoning + _END
    marked = with_reasoning({**last, "content": answer + _END if answer else ""}, thought, style.key)
    rendered = _rendered(render, [*messages[:-1], marked])
    prompt, end, _ = rendered.rpartition(_END)
    if end and _has_reasoning(prompt, style, reasoning, answer):
        return prompt, state
    return _written(render(messages[:-1], True), style, reasoning, answer), state


def _last(messages: Sequence[Message]) -> dict[str, Any]:
    if isinstance(messages, Sequence) and messages and isinstance(messages[-1], dict):
        last = {"content": "", **messages[-1]}
        last["content"] = "" if last["content"] is None else last["content"]  # None next to reasoning
        messages = [*messages[:-1], last]
    last = checked(messages)[-1]
    if last["role"] != "assistant" or last.get("tool_calls"):
        raise ParameterError(
            "continue_final_message: the last message must be the assistant's and have text only, found role "
            f"{short_repr(last['role'])}"
        )
    return last


def _rendered(render: Render, messages: Sequence[Message]) -> str:
    try:
        return render(messages, False)
    except TemplateError:  # some refuse a conversation that ends with the assistant's message
        return ""


def _has_reasoning(prompt: str, style: ReasoningStyle, reasoning: str | None, answer: str) -> bool:
    """Whether a rendered text has the reasoning of its last message, closed if the answer follows."""
    if reasoning is None or style.markers is None:
        return True
    return reasoning.strip() in prompt and (not answer or style.markers.closing in prompt)


def _written(prompt: str, style: ReasoningStyle, reasoning: str | None, answer: str) -> str:
    """Return the prompt of a new message with the beginning of this one."""
    if style.markers is None:
        return prompt + answer
    is_open = style.markers.state_after(prompt) == "open"
    if reasoning is None and not is_open:
        return prompt + answer
    if is_open:
        prompt = prompt.rstrip().removesuffix(style.markers.opening)
    return prompt + style.markers.write(reasoning or "", answer or None)
