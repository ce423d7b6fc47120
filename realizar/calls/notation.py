"""Notation: how a model writes the arguments of a call (a grammar, a reader and a writer); JSON is the usual one."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from realizar.sampling.grammar.schema import json_rule

if TYPE_CHECKING:
    from realizar.calls.tool import Tool

Split = Callable[[str], Iterable[str | int]]
"""Splits a text into ids of control tokens and the texts between them."""

_STRING_PART = re.compile(r'[^"\\]+|\\.|\\', re.DOTALL)
_OTHER_PART = re.compile(r'[^"{}]+')


class Rules(NamedTuple):
    """Where the rules of a grammar go: lines of Lark, and the prefix of the names of new rules and terminals.

    Attributes
    ----------
    lines : list of str
    prefix : str
        Lower case; terminals have it in upper case.
    split : callable
        See `Split`.
    lenient : bool
        Ignore keywords of schemas that cannot be enforced.
    """

    lines: list[str]
    prefix: str
    split: Split
    lenient: bool

    def rule(self, name: str, body: str, *, lazy: bool = False) -> str:
        """Add a rule; return its name."""
        self.lines.append(f"{self.prefix}{name}{'[lazy]' if lazy else ''}: {body}")
        return self.prefix + name

    def terminal(self, name: str, pattern: str) -> str:
        """Add a terminal; return its name."""
        self.lines.append(f"{self.prefix.upper()}{name.upper()}: {pattern}")
        return (self.prefix + name).upper()

    def literal(self, text: str) -> str:
        """Return the items that match a text."""
        return " ".join(f"<[{part}]>" if isinstance(part, int) else json.dumps(part) for part in self.split(text))

    def within(self, name: str) -> Rules:
        """Return the same with a longer prefix."""
        return self._replace(prefix=f"{self.prefix}{name}_")


class ArgumentsReader(Protocol):
    """Converts written arguments to JSON piece by piece.

    Attributes
    ----------
    rest : str or None
        The text after the arguments, once they are complete.
    """

    rest: str | None

    def push(self, text: str) -> str:
        """Take the next piece; return what it adds to the JSON."""
        ...


class Notation(ABC):
    """How arguments are written. All it needs of a tool is its name and the JSON schema of its parameters."""

    @property
    def begins(self) -> str:
        """A pattern for the text between a name and its arguments if that is only white space."""
        return r"\s*(?=[^\sA-Za-z0-9_.:/-])"

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts around keys and values in which control tokens may occur."""
        return ()

    def probe(self, value: str) -> re.Pattern[str] | None:
        """Return a pattern of the arguments {"a": value, "b": value}, with the white space in groups.

        None if no template is expected to write the arguments: the format declares all texts around them.
        """
        return None

    def learned(self, found: re.Match[str]) -> Notation:
        """Return this notation with the white space that a match of `probe` found."""
        return self

    @abstractmethod
    def rules(self, tool: Tool, rules: Rules) -> str:
        """Add rules to a grammar; return the items that match the arguments of a call.

        Raises
        ------
        GrammarError
            The schema has a keyword that cannot be enforced.
        """

    @abstractmethod
    def reader(self, tool: Tool) -> ArgumentsReader:
        """Return a reader of the arguments of one call."""

    @abstractmethod
    def write(self, arguments: Mapping[str, Any]) -> str:
        """Return arguments as text, for templates that do not write the calls of earlier turns."""


@dataclass(frozen=True)
class JsonNotation(Notation):
    """A JSON object.

    Attributes
    ----------
    separators : (str, str)
        Between key and value, and between members.
    has_free_space : bool
        Whether the white space of the template is not enforced, for example because it indents lines.
    """

    separators: tuple[str, str] = (": ", ", ")
    has_free_space: bool = False

    def probe(self, value: str) -> re.Pattern[str]:
        """See `Notation`."""
        return re.compile(rf'\{{(\s*)"a"(\s*:\s*)"{value}"(\s*,\s*)"b"\s*:\s*"{value}"\s*\}}')

    def learned(self, found: re.Match[str]) -> JsonNotation:
        """See `Notation`."""
        return replace(self, separators=(found[2], found[3]), has_free_space="\n" in found[1])

    def rules(self, tool: Tool, rules: Rules) -> str:
        """See `Notation`. Unless it is indented, white space is exactly that of the template."""
        schema = dict(tool.parameters)
        if not self.has_free_space:
            between_keys, between_members = self.separators
            schema["x-guidance"] = {
                "whitespace_flexible": False, "key_separator": between_keys, "item_separator": between_members,
            }  # fmt: skip
        return json_rule(schema, rules.lenient)

    def reader(self, tool: Tool) -> JsonReader:
        """See `Notation`."""
        return JsonReader()

    def write(self, arguments: Mapping[str, Any]) -> str:
        """See `Notation`."""
        return json.dumps(arguments, ensure_ascii=False, separators=(self.separators[1], self.separators[0]))


class JsonReader:
    """Passes a JSON object on, and finds its end."""

    def __init__(self) -> None:
        self.rest: str | None = None
        self._unread = ""
        self._depth = 0
        self._in_string = False

    def push(self, text: str) -> str:
        """See `ArgumentsReader`."""
        self._unread += text
        end = self._end()
        piece, unread = self._unread[:end], self._unread[end:]
        if self.rest is None:
            self._unread = unread
        else:
            self.rest = unread
        return piece

    def _end(self) -> int:
        """Return how much of the unread text is arguments; a backslash at the end waits for what follows."""
        text, at = self._unread, 0
        while at < len(text):
            if self._in_string:
                part = _STRING_PART.match(text, at)
                if part is None:
                    self._in_string = False
                    at += 1
                elif part.group() == "\\":
                    return at
                else:
                    at = part.end()
                continue
            part = _OTHER_PART.match(text, at)
            if part is not None:
                at = part.end()
                continue
            self._in_string = text[at] == '"'
            self._depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if self._depth == 0 and not self._in_string:
                self.rest = ""
                return at
        return at
