"""StructuredOutputsParams: a constraint by the names that vLLM has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from realizar.errors import ParameterError, short_repr
from realizar.params.names import explains_unknown_names, unknown_name

_ANY_OBJECT = '{"type": "object"}'
_HINTS = {
    "whitespace_pattern": "white space between JSON tokens cannot be set",
    "disable_any_whitespace": "white space between JSON tokens cannot be set",
    "disable_additional_properties": "write additionalProperties into the schema",
    "disable_fallback": "there is one backend, llguidance; leave it out",
    "structural_tag": "pass tools to chat, which enforces the schemas of their arguments",
}


@explains_unknown_names(_HINTS)
@dataclass(frozen=True)
class StructuredOutputsParams:
    """What `SamplingParams.structured_outputs` accepts; exactly one must be given.

    Attributes
    ----------
    json : str | mapping | None
        `SamplingParams.json_schema`.
    regex, grammar : str | None
        The fields of the same names.
    choice : sequence of str | None
        The field of the same name.
    json_object : bool | None
        True: the text is any JSON object.
    """

    json: str | Mapping[str, Any] | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


def constraint_of(given: StructuredOutputsParams | Mapping[str, Any]) -> tuple[str, Any]:
    """Return the field of SamplingParams that `structured_outputs` stands for, and its value.

    Raises
    ------
    ParameterError
        If this is something else, a name does not exist, or not exactly one constraint is given.
    """
    names = [field.name for field in fields(StructuredOutputsParams)]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise ParameterError(str(unknown_name("structured_outputs", name, names, _HINTS)))
        values = dict(given)
    elif isinstance(given, StructuredOutputsParams):
        values = {name: getattr(given, name) for name in names}
    else:
        raise ParameterError(
            f"structured_outputs={short_repr(given)}: must be StructuredOutputsParams or a mapping with one of "
            f"{', '.join(names)}"
        )
    found = {name: value for name, value in values.items() if value is not None and value is not False}
    if len(found) != 1:
        raise ParameterError(
            f"structured_outputs: exactly one of {', '.join(names)} must be given, found {', '.join(found) or 'none'}"
        )
    ((name, value),) = found.items()
    if name == "json_object":
        return "json_schema", _ANY_OBJECT
    return ("json_schema" if name == "json" else name), value
