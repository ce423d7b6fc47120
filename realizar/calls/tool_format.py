"""ToolCallFormat: how a model writes tool calls, inferred from its chat template.

A template that supports tools also renders the tool calls of earlier turns, in the format that the model was trained
on. We render probe calls with known names, ids and arguments; the text around them is the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from realizar.errors import TemplateError
from realizar.tokenizer import ChatTemplate

ID_OF_NEXT, ID_OF_PREVIOUS = "\x00", "\x01"
"""Placeholders in a format's texts: the id of the call whose name follows, and of the call whose arguments precede."""
OPTIONAL_ID = f', "id": "{ID_OF_PREVIOUS}"'
"""Mistral's templates render ids in earlier calls. Nemo generates them itself, 7B v0.3 does not."""

# Probe values, searched for in the rendered prompts; no template contains these words. Mistral requires ids of nine
# letters or digits.
_NAMES = ("first_of_the_probes", "second_of_the_probes", "third_of_the_probes")
_IDS = ("probe0id1", "probe0id2", "probe0id3")
_VALUES = ("xyzzy1", "xyzzy2", "xyzzy3")
_ANSWER = "An answer in xyzzy words."
_QUESTION = {"role": "user", "content": "A question."}
# A marker at the beginning of a format that distinguishes calls from text: <tool_call>, <function=, [TOOL_CALLS]
_MARKER = re.compile(r"<[^<>/\s{][^<>\s{]*>?|\[[^\[\]\s\"{]+\]")
# Empty reasoning that a template renders before calls (Command R7B): the prompt contains it, or the model reasons.
_EMPTY_REASONING = re.compile(r"\s*<[^<>\s]*think[^<>\s]*>\s*<[^<>\s]*think[^<>\s]*>", re.IGNORECASE)
# Wrongly rendered arguments: a Python dict, or JSON inside a JSON string.
_WRONG_ARGUMENTS = re.compile(r"'a': *'xyzzy1'|\\\"a\\\"")
# How a template renders a content of None.
_RENDERED_NONE = re.compile(r"\b(None|null)\b")


@dataclass(frozen=True)
class ToolCallFormat:
    """The texts around the names and arguments (one JSON object per call) of the tool calls in a completion.

    Attributes
    ----------
    opening : str
        Before the first name.
    middle : str
        Between a name and its arguments.
    between : str or None
        From the arguments of a call to the name of the next; None if a completion has at most one call.
    closing : str
        After the last arguments.
    separators : (str, str)
        JSON separators of the arguments: between key and value, and between members.
    """

    opening: str
    middle: str
    between: str | None
    closing: str
    separators: tuple[str, str] = (": ", ", ")

    @property
    def start(self) -> str:
        """`opening` without leading whitespace."""
        return self.opening.lstrip()

    @property
    def marker(self) -> str:
        """The prefix of `start` that distinguishes calls from text anywhere in a completion.

        Empty if calls are recognized only when the completion begins with `start`.
        """
        found = _MARKER.match(self.start)
        return found.group() if found else ""

    @classmethod
    def from_template(cls, template: ChatTemplate, ends: Iterable[str]) -> ToolCallFormat:
        """Infer the format from a chat template.

        Parameters
        ----------
        template : ChatTemplate
        ends : iterable of str
            Texts of the end-of-generation tokens.

        Raises
        ------
        TemplateError
            The template does not render tools, or renders calls in an unsupported format.
        """
        if _NAMES[0] not in _render(template, []):
            raise TemplateError(
                "this model's chat template has no section for tools, so the model was not trained to call them; "
                "describe the wanted output in the messages and enforce it with json_schema"
            )
        plain = _render(template, [{"role": "assistant", "content": _ANSWER}])
        head, end_names = plain.partition(_ANSWER)[0], [name for name in ends if name]
        answer = plain[_n_common(plain, _render(template, [])) :]
        for n, as_text, no_content in product((3, 1), (False, True), (None, "")):
            try:
                found = _render(template, [_assistant_message(n, as_text, no_content)])
            except TemplateError:  # some accept only one call, or the other type of arguments or content
                continue
            tool_format = _parse_format(found[_n_common(found, head) :], n, end_names)
            # A marker that also occurs in answers without calls does not identify calls (Kimi-K3's <|close|>).
            if tool_format is not None and not (tool_format.marker and tool_format.marker in answer):
                return tool_format
        raise TemplateError(
            "this model's chat template has a section for tools, but its tool-call format is not supported; supported "
            "are formats with a start marker, the name, and the arguments as a JSON object"
        )


def message_style(template: ChatTemplate) -> tuple[bool, str | None]:
    """Return how the template expects earlier tool calls: (arguments as JSON text, content of a message without text).

    Works for unsupported tool-call formats too. Prefers the first style in which the calls are rendered correctly,
    otherwise (some templates omit calls) the first in which nothing is rendered wrongly.
    """
    result = {"role": "tool", "tool_call_id": _IDS[0], "name": _NAMES[0], "content": "A result."}
    styles = []
    for as_text, no_content in product((False, True), (None, "")):
        try:
            found = _render(template, [_assistant_message(1, as_text, no_content), result])
        except TemplateError:
            continue
        if not _WRONG_ARGUMENTS.search(found):
            styles.append((_VALUES[0] in found, -len(_RENDERED_NONE.findall(found)), as_text, no_content))
    _, _, as_text, no_content = max(styles, key=lambda style: style[:2], default=(False, 0, False, ""))
    return as_text, no_content


def _render(template: ChatTemplate, answers: Sequence[Mapping[str, Any]]) -> str:
    strings = {key: {"type": "string", "description": "A text."} for key in ("a", "b")}
    schema = {"type": "object", "properties": strings, "required": ["a", "b"]}
    tools = [
        {"type": "function", "function": {"name": name, "description": "A probe.", "parameters": schema}}
        for name in _NAMES
    ]
    return template.render([_QUESTION, *answers], add_generation_prompt=False, tools=tools)


def _assistant_message(n: int, as_text: bool, no_content: str | None) -> dict[str, Any]:
    """Return an assistant message with n probe calls."""
    calls = []
    for name, call_id, value in list(zip(_NAMES, _IDS, _VALUES, strict=True))[:n]:
        arguments = {"a": value, "b": value}
        written = json.dumps(arguments) if as_text else arguments
        calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": written}})
    return {"role": "assistant", "content": no_content, "tool_calls": calls}


def _n_common(text: str, head: str) -> int:
    """Return the length of the common prefix, not counting a bracketed name that is cut off at its end."""
    n = next((i for i, (a, b) in enumerate(zip(text, head, strict=False)) if a != b), min(len(text), len(head)))
    cut = re.search(r"[<\[][^<>\[\]\s]*\Z", head[:n])
    return cut.start() if cut and n < len(head) else n


def _parse_format(text: str, n: int, ends: Sequence[str]) -> ToolCallFormat | None:
    """Return the format of a rendered text with n probe calls; None if it is not supported."""
    before, middles, at, found = [], set(), 0, None
    for i, (name, value) in enumerate(list(zip(_NAMES, _VALUES, strict=True))[:n]):
        name_at = text.find(name, at)
        name_end = name_at + len(name)
        written = re.compile(rf'\{{\s*"a"(\s*:\s*)"{value}"(\s*,\s*)"b"\s*:\s*"{value}"\s*\}}')
        found = written.search(text, name_end)
        if name_at < 0 or found is None:
            return None
        before.append(_with_id_placeholders(text[at:name_at], i))
        middles.add(_with_id_placeholders(text[name_end : found.start()], i))
        at = found.end()
    if found is None or len(middles) > 1 or len(set(before[1:])) > 1:  # for example numbered calls
        return None
    closing = _with_id_placeholders(text[at:], n)
    closing = closing[: min((at for end in ends if (at := closing.find(end)) >= 0), default=len(closing))].rstrip()
    between = before[1] if n > 1 else None
    reasoning = _EMPTY_REASONING.match(before[0])
    opening = before[0][reasoning.end() :] if reasoning else before[0]
    tool_format = ToolCallFormat(opening, middles.pop(), between, closing, (found[1], found[2]))
    recognizable = tool_format.start.startswith(("{", "[", "<")) and tool_format.marker not in ends
    # A rendered None, or braces added around text arguments, mean that the template expects another message style.
    correct = "None" not in tool_format.opening and not tool_format.middle.endswith("{")
    return tool_format if recognizable and correct else None


def _with_id_placeholders(text: str, i: int) -> str:
    """Return the text between the arguments of probes i - 1 and i, with their ids replaced by placeholders."""
    if i:
        text = text.replace(_IDS[i - 1], ID_OF_PREVIOUS)
    return text.replace(_IDS[i], ID_OF_NEXT) if i < len(_IDS) else text
