"""The grammar of a string that is written without quotes and ends where a known text begins."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from realizar.calls.schema_types import refuse
from realizar.sampling.grammar.patterns import literal

if TYPE_CHECKING:
    from realizar.calls.notation import Rules

_ANY = "(?s:.*)"
_DATE, _TIME = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
_FORMATS = {
    "date": _DATE,
    "time": rf"{_TIME}(Z|[+\-]\d\d:\d\d)?",
    "date-time": rf"{_DATE}T{_TIME}(Z|[+\-]\d\d:\d\d)",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "email": r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)+",
    "ipv4": r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)",
    "uri": r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"]+",
}
"""Formats of strings that are enforced: RFC 3339, 4122 and 3986, the usual part of 5322."""
_UNKNOWN = ("contentEncoding", "contentMediaType", "not", "if", "then", "else")


def raw_text(rules: Rules, schema: Mapping[str, Any], end: str, path: str) -> str:
    """Return the items of a string of a schema, and of the text that ends it, which it cannot contain.

    Raises
    ------
    GrammarError
        The schema has a keyword that cannot be enforced in such a string.
    """
    chosen = [schema["const"]] if "const" in schema else schema.get("enum")
    if chosen is not None:
        texts = [value for value in chosen if isinstance(value, str)]
        return f"({' | '.join(rules.literal(text + end) for text in texts)})"
    parts = list(rules.split(end))
    before = "".join(str(part) for part in takewhile(lambda part: isinstance(part, str), parts))
    patterns = contents(schema, path, rules.lenient)
    if before == end:
        if patterns == [_ANY]:
            return rules.rule("raw", f"/{_ANY}{literal(end)}/", lazy=True)
        once = f"~/{_ANY}{literal(end)}(?s:.+)/"
        pattern = " & ".join([*(f"/{content}{literal(end)}/" for content in patterns), once])
        return rules.rule("raw", rules.terminal("raw_text", pattern), lazy=True)
    text = rules.terminal("raw_text", " & ".join(f"/{content}{literal(before)}/" for content in patterns))
    return f"{text} {rules.literal(end[len(before) :])}"


def begun_at_end(text: str, end: str) -> int:
    """Return how many characters at the end of a text may begin another one, without being all of it."""
    return next((n for n in range(min(len(end) - 1, len(text)), 0, -1) if text.endswith(end[:n])), 0)


def contents(schema: Mapping[str, Any], path: str, lenient: bool) -> list[str]:
    """Return patterns that a string of a schema must match, all of them.

    Raises
    ------
    GrammarError
        The schema has a keyword that cannot be enforced.
    """
    refuse([name for name in _UNKNOWN if name in schema], path, lenient)
    found = []
    least, most = schema.get("minLength", 0), schema.get("maxLength", "")
    if least or most != "":
        found.append(f"(?s:.{{{least},{most}}})")
    if "pattern" in schema:
        found.append(_searched(str(schema["pattern"])))
    name = schema.get("format")
    if name in _FORMATS:
        found.append(f"({_FORMATS[name]})")
    elif name is not None:
        refuse(["format"], path, lenient)
    return found or [_ANY]


def _searched(pattern: str) -> str:
    """Return a pattern of all texts in which a pattern of JSON schema is found."""
    begins, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern[begins : len(pattern) - ends].replace("\\/", "/").replace("/", "\\/")
    return f"{'' if begins else _ANY}({inner}){'' if ends else _ANY}"
