"""The grammar of a completion that may contain tool calls, in llguidance's Lark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence

from realizar.calls.tool import Tool
from realizar.calls.tool_format import ID_OF_NEXT, ID_OF_PREVIOUS, OPTIONAL_ID, ToolCallFormat
from realizar.sampling.grammar.patterns import literal
from realizar.sampling.grammar.schema import json_rule

Split = Callable[[str], Iterable[str | int]]

_ANYTHING = "(?s:.*)"
_SPACE = "[ \\n]*"
_ID = re.compile(f"({re.escape(OPTIONAL_ID)}|{ID_OF_NEXT}|{ID_OF_PREVIOUS})")


def completion_grammar(
    tool_format: ToolCallFormat, tools: Sequence[Tool], mode: str, split: Split, lenient: bool = False
) -> str:
    """Return the grammar of a completion.

    Whitespace in the arguments must match what the template renders, because the model was trained on that.

    Parameters
    ----------
    tool_format : ToolCallFormat
    tools : sequence of Tool
        The tools that may be called.
    mode : {"auto", "none", "required", "one"}
        Text, then optional calls; only text; only calls; exactly one call.
    split : callable
        Splits a text into ids of control tokens and the texts between them.
    lenient : bool
        See `realizar.sampling.grammar.schema.json_rule`.

    Raises
    ------
    GrammarError
        A schema is not valid JSON, or too large.
    """
    lines = [f"TEXT: /{_ANYTHING}/ & ~/{_contains_calls(tool_format)}/"]
    if mode == "none":
        lines.append("start: TEXT")
    elif mode == "auto":
        lines += [
            f"start: TEXT | begin {_literal(tool_format.start[len(tool_format.marker) :], split)} calls",
            *_begin(tool_format, split),
        ]
    else:
        lines.append(f"start: {_literal(tool_format.opening, split)} calls")
    if mode != "none":
        lines += _calls(tool_format, tools, mode == "one" or tool_format.between is None, split, lenient)
    return "\n".join(lines) + "\n"


def _contains_calls(tool_format: ToolCallFormat) -> str:
    """Return a regular expression that matches completions with tool calls."""
    return (
        f"{_ANYTHING}{literal(tool_format.marker)}{_ANYTHING}"
        if tool_format.marker
        else f"{_SPACE}{literal(tool_format.start)}{_ANYTHING}"
    )


def _begin(tool_format: ToolCallFormat, split: Split) -> list[str]:
    """Return the rule of everything up to and including the marker."""
    if not tool_format.marker:
        return [f"begin: /{_SPACE}/"]
    if isinstance(next(iter(split(tool_format.marker))), int):
        return [f"begin: TEXT {_literal(tool_format.marker, split)}"]
    # Lexemes are greedy; a lazy one ends with the first marker.
    return [f"begin[lazy]: /{_ANYTHING}{literal(tool_format.marker)}/"]


def _calls(tool_format: ToolCallFormat, tools: Sequence[Tool], once: bool, split: Split, lenient: bool) -> list[str]:
    """Return the rules from the first name to the end of the completion."""
    more_calls = "" if once else f"({_literal(tool_format.between or '', split)} call)*"
    lines = [
        f"calls: call {more_calls} {_literal(tool_format.closing, split)}",
        f"call: {' | '.join(f'call_{i}' for i in range(len(tools)))}",
        "ID: /[A-Za-z0-9]{9}/",
    ]
    between_keys, between_members = tool_format.separators
    whitespace = {"whitespace_flexible": False, "key_separator": between_keys, "item_separator": between_members}
    for i, tool in enumerate(tools):
        arguments = json_rule({**tool.parameters, "x-guidance": whitespace}, lenient)
        lines.append(f"call_{i}: {_literal(tool.name + tool_format.middle, split)} {arguments}")
    return lines


def _literal(text: str, split: Split) -> str:
    """Return a text of the format as items of a grammar rule."""
    items = []
    for part in _ID.split(text):
        if part == OPTIONAL_ID:
            items.append(f"({json.dumps(part[:-2])} ID {json.dumps(part[-1])})?")
        elif part in (ID_OF_NEXT, ID_OF_PREVIOUS):
            items.append("ID")
        else:
            items += [f"<[{piece}]>" if isinstance(piece, int) else json.dumps(piece) for piece in split(part)]
    return " ".join(items)
