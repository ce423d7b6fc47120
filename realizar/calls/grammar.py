"""The grammar of an answer that may make calls, in llguidance's Lark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence

from realizar.calls.form import ID_AHEAD, ID_BEHIND, OPTIONAL_ID, CallForm
from realizar.calls.tool import Tool
from realizar.sampling.grammar.patterns import literal
from realizar.sampling.grammar.schema import json_rule

Split = Callable[[str], Iterable[str | int]]

_ANYTHING = "(?s:.*)"
_SPACE = "[ \\n]*"
_ID = re.compile(f"({re.escape(OPTIONAL_ID)}|{ID_AHEAD}|{ID_BEHIND})")


def write(form: CallForm, tools: Sequence[Tool], how: str, split: Split, lenient: bool = False) -> str:
    """Return the grammar of answers.

    The arguments have the white space that the template puts into them and no other: what the model saw in training.

    Parameters
    ----------
    form : CallForm
    tools : sequence of Tool
        Those that may be called.
    how : {"auto", "none", "required", "one"}
        Text and then calls, if any; text alone; calls alone; one call alone.
    split : callable
        From a text to its parts: ids of control tokens, and the texts between them.
    lenient : bool
        As for `realizar.sampling.grammar.schema.json_rule`.

    Raises
    ------
    GrammarError
        A schema is no JSON, or too large.
    """
    lines = [f"TEXT: /{_ANYTHING}/ & ~/{_with_calls(form)}/"]
    if how == "none":
        lines.append("start: TEXT")
    elif how == "auto":
        lines += [f"start: TEXT | begin {_literal(form.start[len(form.marker) :], split)} calls", *_begin(form, split)]
    else:
        lines.append(f"start: {_literal(form.opening, split)} calls")
    if how != "none":
        lines += _calls(form, tools, how == "one" or form.between is None, split, lenient)
    return "\n".join(lines) + "\n"


def _with_calls(form: CallForm) -> str:
    """Return the regular expression of what is no text alone."""
    return (
        f"{_ANYTHING}{literal(form.marker)}{_ANYTHING}" if form.marker else f"{_SPACE}{literal(form.start)}{_ANYTHING}"
    )


def _begin(form: CallForm, split: Split) -> list[str]:
    """Return the rule of what there is up to the marker, and with it."""
    if not form.marker:
        return [f"begin: /{_SPACE}/"]
    if isinstance(next(iter(split(form.marker))), int):
        return [f"begin: TEXT {_literal(form.marker, split)}"]
    # A lexeme takes as much as it can, but for a lazy one, which ends with the first marker.
    return [f"begin[lazy]: /{_ANYTHING}{literal(form.marker)}/"]


def _calls(form: CallForm, tools: Sequence[Tool], once: bool, split: Split, lenient: bool) -> list[str]:
    """Return the rules of what there is from the first name to the end."""
    again = "" if once else f"({_literal(form.between or '', split)} call)*"
    lines = [
        f"calls: call {again} {_literal(form.closing, split)}",
        f"call: {' | '.join(f'call_{i}' for i in range(len(tools)))}",
        "ID: /[A-Za-z0-9]{9}/",
    ]
    between_keys, between_members = form.separators
    spaces = {"whitespace_flexible": False, "key_separator": between_keys, "item_separator": between_members}
    for i, tool in enumerate(tools):
        arguments = json_rule({**tool.parameters, "x-guidance": spaces}, lenient)
        lines.append(f"call_{i}: {_literal(tool.name + form.middle, split)} {arguments}")
    return lines


def _literal(text: str, split: Split) -> str:
    """Return a text of a form as items of a rule."""
    items = []
    for part in _ID.split(text):
        if part == OPTIONAL_ID:
            items.append(f"({json.dumps(part[:-2])} ID {json.dumps(part[-1])})?")
        elif part in (ID_AHEAD, ID_BEHIND):
            items.append("ID")
        else:
            items += [f"<[{piece}]>" if isinstance(piece, int) else json.dumps(piece) for piece in split(part)]
    return " ".join(items)
