"""MiniCPM5: <function name="NAME"> with one <param name="KEY"> for each argument; strings with markup are CDATA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from realizar.calls.chat_format import ChatFormat
from realizar.calls.python_notation import PYTHON
from realizar.calls.raw_text import contents, raw_text
from realizar.calls.tags import STRING, TagNotation, TagReader

if TYPE_CHECKING:
    from realizar.calls.notation import Rules
    from realizar.calls.tool import Tool

_BEGIN, _END = "<![CDATA[", "]]>"
_MARKUP = "<&\n"
"""Characters with which the template writes a string as a CDATA section."""


class CdataNotation(TagNotation):
    """Elements whose strings have no markup, or are CDATA sections; other values are Python's literals."""

    def text(self, value: Any) -> str:
        """See `TagNotation`."""
        if not isinstance(value, str):
            return PYTHON.write(value)
        return f"{_BEGIN}{value}{_END}" if any(character in value for character in _MARKUP) else value

    def string(self, rules: Rules, schema: Mapping[str, Any], after: str, path: str) -> str:
        """See `TagNotation`."""
        if "const" in schema or "enum" in schema:
            chosen = [schema["const"]] if "const" in schema else schema["enum"]
            return f"({' | '.join(rules.literal(self.text(v) + after) for v in chosen if isinstance(v, str))})"
        patterns = " & ".join(["/[^<&\\n]+/", *(f"/{pattern}/" for pattern in contents(schema, path, rules.lenient))])
        may_be_empty = not (schema.get("minLength") or "pattern" in schema or "format" in schema)
        plain = rules.terminal("plain", patterns) + ("?" if may_be_empty else "")
        section = raw_text(rules.within("cdata"), schema, _END + after, path)
        return f"({plain} {rules.literal(after)} | {rules.literal(_BEGIN)} {section})"

    def reader(self, tool: Tool) -> CdataReader:
        """See `Notation`."""
        return CdataReader(self, tool.parameters)


class CdataReader(TagReader):
    """Reads a value up to the end of its CDATA section if it begins with one."""

    def __init__(self, notation: TagNotation, schema: Mapping[str, Any]) -> None:
        super().__init__(notation, schema)
        self._plain_end = self._after
        self._is_known = False

    def _key(self) -> str | None:
        self._after, self._is_known = self._plain_end, False
        return super()._key()

    def _value(self) -> str | None:
        if not self._is_known:
            if self._unread.startswith(_BEGIN):
                self._unread, self._types = self._unread[len(_BEGIN) :], STRING
                self._after = _END + self._plain_end
            elif _BEGIN.startswith(self._unread):
                return None
            self._is_known = True
        return super()._value()


FORMAT = ChatFormat(
    "minicpm5",
    contains=('<function name="', '<param name="', _BEGIN),
    arguments=CdataNotation(
        '<param name="{key}">{value}</param>', python_types=frozenset(("boolean", "null", "array", "object"))
    ),
)
