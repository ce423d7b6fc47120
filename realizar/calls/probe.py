"""What a chat template tells about tool calls: it renders those of earlier turns, in the form of the training data.

We render probe calls with known names, ids and arguments; the text around them is the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from realizar.calls.notation import JsonNotation, Notation
from realizar.calls.tool_format import ID_OF_NEXT, ID_OF_PREVIOUS, NUMBER, ToolCallFormat
from realizar.errors import TemplateError
from realizar.tokenizer import ChatTemplate

Tools = Sequence[Mapping[str, Any]]
Variables = Callable[[Tools], Mapping[str, Any]]

# Probe values, searched for in the rendered prompts; no template contains these words. Mistral requires ids of nine
# letters or digits.
_NAMES = ("first_of_the_probes", "second_of_the_probes", "third_of_the_probes")
_IDS = ("probe0id1", "probe0id2", "probe0id3")
_VALUES = ("xyzzy1", "xyzzy2", "xyzzy3")
_ANSWER = "An answer in xyzzy words."
_QUESTION = {"role": "user", "content": "A question."}
# Empty reasoning that a template renders before calls (Command R7B): the prompt contains it, or the model reasons.
_EMPTY_REASONING = re.compile(r"\s*<[^<>\s]*think[^<>\s]*>\s*<[^<>\s]*think[^<>\s]*>", re.IGNORECASE)
# Wrongly rendered arguments: a Python dict, or JSON inside a JSON string.
_WRONG_ARGUMENTS = re.compile(r"'a': *'xyzzy1'|\\\"a\\\"")
# How a template renders a content of None.
_RENDERED_NONE = re.compile(r"\b(None|null)\b")


def has_tools(template: ChatTemplate, variables: Variables | None = None) -> bool:
    """Whether a template has a section for tools.

    Parameters
    ----------
    template : ChatTemplate
    variables : callable, optional
        Returns the variables of the template for tools.

    Raises
    ------
    TemplateError
        It fails.
    """
    return _NAMES[0] in _render(template, [], variables)


def learned_format(
    template: ChatTemplate, ends: Iterable[str], notation: Notation | None = None, marker: str = "",
    variables: Variables | None = None,
) -> ToolCallFormat | None:  # fmt: skip
    """Return the format that a chat template renders calls in, or None if it cannot be learned.

    Parameters
    ----------
    template : ChatTemplate
    ends : iterable of str
        Texts of the end-of-generation tokens.
    notation : Notation, optional
        How arguments are written; by default as JSON.
    marker : str
        See `ToolCallFormat.own_marker`.
    variables : callable, optional
        See `has_tools`.
    """
    try:
        plain = _render(template, [{"role": "assistant", "content": _ANSWER}], variables)
        question = _render(template, [], variables)
    except TemplateError:
        return None
    head, end_names = plain.partition(_ANSWER)[0], [name for name in ends if name]
    answer = plain[_n_common(plain, question) :]
    for n, as_text, no_content in product((3, 1), (False, True), (None, "")):
        try:
            found = _render(template, [_assistant_message(n, as_text, no_content)], variables)
        except TemplateError:  # some accept only one call, or the other type of arguments or content
            continue
        text = found[_n_common(found, head) :]
        tool_format = _parse_format(text, n, end_names, notation or JsonNotation(), marker)
        if tool_format is not None and (tool_format := _with_marker(tool_format, answer)) is not None:
            return tool_format
    return None


def writes_calls(template: ChatTemplate, variables: Variables | None = None) -> bool:
    """Whether a template writes the calls of earlier turns."""
    for as_text, no_content in product((False, True), (None, "")):
        try:
            if _VALUES[0] in _render(template, [_assistant_message(1, as_text, no_content)], variables):
                return True
        except TemplateError:
            continue
    return False


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


def _render(template: ChatTemplate, answers: Sequence[Mapping[str, Any]], variables: Variables | None = None) -> str:
    strings = {key: {"type": "string", "description": "A text."} for key in ("a", "b")}
    schema = {"type": "object", "properties": strings, "required": ["a", "b"]}
    tools = [
        {"type": "function", "function": {"name": name, "description": "A probe.", "parameters": schema}}
        for name in _NAMES
    ]
    defined = {"tools": tools} if variables is None else variables(tools)
    return template.render([_QUESTION, *answers], add_generation_prompt=False, **defined)


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


def _parse_format(text: str, n: int, ends: Sequence[str], notation: Notation, marker: str) -> ToolCallFormat | None:
    """Return the format of a rendered text with n probe calls; None if it is not supported."""
    before, middles, at, found = [], [], 0, None
    for i, (name, value) in enumerate(list(zip(_NAMES, _VALUES, strict=True))[:n]):
        name_at = text.find(name, at)
        name_end = name_at + len(name)
        written = notation.probe(value)
        found = None if written is None else written.search(text, name_end)
        if name_at < 0 or found is None:
            return None
        before.append(_with_id_placeholders(text[at:name_at], i))
        middles.append(_with_id_placeholders(text[name_end : found.start()], i))
        at = found.end()
    if found is None:
        return None
    closing = _with_id_placeholders(text[at:], n)
    closing = closing[: min((at for end in ends if (at := closing.find(end)) >= 0), default=len(closing))].rstrip()
    for first_number in (None, 0, 1):
        openings, inner = _numbered(before, first_number), _numbered(middles, first_number)
        if len(set(inner)) > 1 or len(set(openings[1:])) > 1:
            continue
        reasoning = _EMPTY_REASONING.match(openings[0])
        opening = openings[0][reasoning.end() :] if reasoning else openings[0]
        between = openings[1] if n > 1 else None
        tool_format = ToolCallFormat(opening, inner[0], between, closing, notation.learned(found), marker)
        return tool_format if _is_usable(tool_format, ends) else None
    return None


def _is_usable(tool_format: ToolCallFormat, ends: Sequence[str]) -> bool:
    """Whether calls are recognizable, and the template expects this style of messages."""
    if tool_format.own_marker and not tool_format.start.startswith(tool_format.own_marker):
        return False
    recognizable = bool(tool_format.own_marker) or tool_format.start.startswith(("{", "[", "<"))
    # A rendered None, or braces added around text arguments, mean that the template expects another message style.
    correct = "None" not in tool_format.opening and not (
        isinstance(tool_format.arguments, JsonNotation) and tool_format.middle.endswith("{")
    )
    return recognizable and correct and tool_format.marker not in ends


def _with_marker(tool_format: ToolCallFormat, answer: str) -> ToolCallFormat | None:
    """Return a format with a marker that does not occur in an answer without calls; None if there is none.

    A short marker may: Kimi-K3 ends each part of an answer with <|close|>.
    """
    if not tool_format.marker or tool_format.marker not in answer:
        return tool_format
    return None if tool_format.start in answer else replace(tool_format, own_marker=tool_format.start)


def _numbered(texts: Sequence[str], first_number: int | None) -> list[str]:
    """Return the texts of calls with the number of each replaced by a placeholder."""
    if first_number is None:
        return list(texts)
    return [re.sub(rf"(?<![0-9A-Za-z]){i + first_number}(?![0-9A-Za-z])", NUMBER, text) for i, text in enumerate(texts)]


def _with_id_placeholders(text: str, i: int) -> str:
    """Return the text between the arguments of probes i - 1 and i, with their ids replaced by placeholders."""
    if i:
        text = text.replace(_IDS[i - 1], ID_OF_PREVIOUS)
    return text.replace(_IDS[i], ID_OF_NEXT) if i < len(_IDS) else text
