"""Limits on the memory and time of one chat template rendering: Meter and the check_* functions.

A template is an untrusted program. Operations that could make large values are checked before they run (`check_*`),
results are measured (`Meter.charge`), and loop iterations and calls count against the same budget.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from realizar.errors import TemplateError

MAX_CHARACTERS = 1 << 23  # of one value and of the whole output; about twice a context of 10^6 tokens
MAX_WORK = 16 * MAX_CHARACTERS  # of all values made during one rendering
MAX_SECONDS = 5.0
MAX_WIDTH = 9_999  # of padding, indentation and number formats
MAX_BITS = 4_096  # of an integer

# A number format with a width of five or more digits, or with a width from the arguments.
_PERCENT_WIDTH = re.compile(r"%[^a-zA-Z%]*\*|%.*\d{5}", re.DOTALL)
_BRACE_WIDTH = re.compile(r"\{[^}]*(?:\{|\d{5})")


class TemplateList(list[Any]):
    """A list literal of a template. The template may append to it until another container references it.

    After that, appending would grow the container without measuring it again.
    """

    referenced = False


class Meter:
    """The budget of one rendering: characters made, and its deadline."""

    def __init__(self) -> None:
        self._work = MAX_WORK
        self._deadline = time.monotonic() + MAX_SECONDS

    def spend(self, work: int) -> None:
        """Subtract from the budget; raises TemplateError if it or the time is used up."""
        self._work -= work
        if self._work < 0:
            raise TemplateError(
                f"the chat template makes more than {MAX_WORK} characters in intermediate values; it may loop forever"
            )
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template takes longer than {MAX_SECONDS:g} s; it may loop forever")

    def charge(self, value: Any) -> Any:
        """Charge a new value to the budget, check its size, and return it."""
        if isinstance(value, str):
            self.spend(len(value) + 1)
            check_size(len(value))
        elif isinstance(value, int):
            check_bits(value.bit_length())
        elif isinstance(value, Collection) and not isinstance(value, range):
            self.spend(len(value) + 1)
            check_size(printed_size(value))
        return value


def check_size(characters: int) -> None:
    """Raise TemplateError if a text is, or would become, too long."""
    if characters > MAX_CHARACTERS:
        raise TemplateError(f"the chat template makes a text of more than {MAX_CHARACTERS} characters")


def check_width(*values: Any) -> None:
    """Raise TemplateError if an argument asks for too much padding."""
    if any(isinstance(v, int) and abs(v) > MAX_WIDTH for v in values):
        raise TemplateError(f"the chat template asks for a width of more than {MAX_WIDTH}")


def check_strip_set(*characters: Any) -> None:
    """Limit a set of characters to strip: Python scans it for every character of the text."""
    check_width(*(len(c) for c in characters if isinstance(c, str)))


def check_bits(bits: int) -> None:
    """Raise TemplateError if an integer is, or would become, too large."""
    if bits > MAX_BITS:
        raise TemplateError(f"the chat template computes an integer of more than {MAX_BITS} bits")


def printed_size(value: Any) -> int:
    """Return about how many characters a value prints as; counting stops just past the limit.

    An item that a container holds twice counts twice: this is how a few lines make a value that prints forever. Lists
    found inside a container are frozen.
    """
    total, waiting = 0, [value]
    while waiting and total <= MAX_CHARACTERS:
        item = waiting.pop()
        total += 1
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, Mapping):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, Collection) and not isinstance(item, range):
            if isinstance(item, TemplateList) and item is not value:
                item.referenced = True
            waiting += item
    return total


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Check the result size of ``*``, ``**`` and ``%``; ``+`` at most doubles and is measured afterwards."""
    if operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(value, (str, list, tuple)):
                check_size(printed_size(value) * max(times, 0))
        if isinstance(left, int) and isinstance(right, int):
            check_bits(left.bit_length() + right.bit_length())
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        check_bits(left.bit_length() * abs(right))
    elif operator == "%" and isinstance(left, str):
        check_percent(left)


def check_percent(pattern: str) -> None:
    """Check a format string of the ``%`` operator."""
    if _PERCENT_WIDTH.search(pattern):
        raise TemplateError(
            f"the chat template asks for a width of more than {MAX_WIDTH} in the format {pattern[:80]!r}"
        )


def check_braces(pattern: str) -> None:
    """Check a format string of `str.format`."""
    if _BRACE_WIDTH.search(pattern.replace("{{", "").replace("}}", "")):
        raise TemplateError(
            f"the chat template asks for a width of more than {MAX_WIDTH} in the format {pattern[:80]!r}"
        )


def check_replace(text: str, old: Any, new: Any) -> None:
    """Check the result size of ``text.replace(old, new)``."""
    check_size(len(text) + text.count(str(old)) * len(str(new)))


def check_join(separator: Any, parts: list[Any]) -> None:
    """Check the result size of ``separator.join(parts)``."""
    check_size(printed_size(parts) + len(parts) * len(str(separator)))
