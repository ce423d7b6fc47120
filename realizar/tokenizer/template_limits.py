"""Meter and the growth checks: how much text and time one rendering of a chat template may use.

A template is a stranger's program. What it can do in one step is checked before it is done (`check_*`), what comes out
is weighed (`Meter.take`), and every loop round and call pays into the same account, so that neither memory nor time
can run away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from realizar.errors import TemplateError

MAX_CHARACTERS = 1 << 23  # of one value and of the whole output; a context of 10^6 tokens has about half of it
MAX_WORK = 16 * MAX_CHARACTERS  # of everything that a rendering makes on its way
MAX_SECONDS = 5.0
MAX_WIDTH = 9_999  # of a padding, an indentation, a number format
MAX_BITS = 4_096  # of an integer

# A number format with a width of five digits or more, or one that comes with the arguments.
_PERCENT_WIDTH = re.compile(r"%[^a-zA-Z%]*\*|%.*\d{5}", re.DOTALL)
_BRACE_WIDTH = re.compile(r"\{[^}]*(?:\{|\d{5})")


class MadeList(list[Any]):
    """A list that a template wrote down, to which it may append as long as no other value holds it.

    Behind that, the weight of what holds it could grow without being looked at again.
    """

    held = False


class Meter:
    """The account of one rendering: characters made, and the time at which it must be over."""

    def __init__(self) -> None:
        self._work = MAX_WORK
        self._deadline = time.monotonic() + MAX_SECONDS

    def spend(self, work: int) -> None:
        """Pay for some characters or rounds; raises TemplateError when the account is empty or the time is up."""
        self._work -= work
        if self._work < 0:
            raise TemplateError(f"the chat template makes more than {MAX_WORK} characters on its way; it does not end")
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template takes longer than {MAX_SECONDS:g} s; it does not end")

    def take(self, value: Any) -> Any:
        """Pay for a value that was just made, check its size, and return it."""
        if isinstance(value, str):
            self.spend(len(value) + 1)
            limit(len(value))
        elif isinstance(value, int):
            check_bits(value.bit_length())
        elif isinstance(value, Collection) and not isinstance(value, range):
            self.spend(len(value) + 1)
            limit(weight(value))
        return value


def limit(characters: int) -> None:
    """Raise TemplateError where a text is, or would become, too long."""
    if characters > MAX_CHARACTERS:
        raise TemplateError(f"the chat template makes a text of more than {MAX_CHARACTERS} characters")


def check_width(*values: Any) -> None:
    """Raise TemplateError where one of the arguments asks for an absurd padding."""
    if any(isinstance(v, int) and abs(v) > MAX_WIDTH for v in values):
        raise TemplateError(f"the chat template asks for a width of more than {MAX_WIDTH}")


def check_set(*characters: Any) -> None:
    """Check a set of characters to strip: for each character of the text Python looks through all of it."""
    check_width(*(len(c) for c in characters if isinstance(c, str)))


def check_bits(bits: int) -> None:
    """Raise TemplateError where an integer is, or would become, absurdly large."""
    if bits > MAX_BITS:
        raise TemplateError(f"the chat template computes an integer of more than {MAX_BITS} bits")


def weight(value: Any) -> int:
    """Return about how many characters a value prints as, counted no further than just past the limit.

    Something that sits in a container twice counts twice: that is how a few lines make a value that prints for ever.
    What is weighed in a container cannot grow any more.
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
            if isinstance(item, MadeList) and item is not value:
                item.held = True
            waiting += item
    return total


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Check what ``*``, ``**`` and ``%`` would make; ``+`` at most doubles and is weighed afterwards."""
    if operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(value, (str, list, tuple)):
                limit(weight(value) * max(times, 0))
        if isinstance(left, int) and isinstance(right, int):
            check_bits(left.bit_length() + right.bit_length())
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        check_bits(left.bit_length() * abs(right))
    elif operator == "%" and isinstance(left, str):
        check_percent(left)


def check_percent(pattern: str) -> None:
    """Check a format of the ``%`` operator."""
    if _PERCENT_WIDTH.search(pattern):
        raise TemplateError(
            f"the chat template asks for a width of more than {MAX_WIDTH} in the format {pattern[:80]!r}"
        )


def check_braces(pattern: str) -> None:
    """Check a format of `str.format`."""
    if _BRACE_WIDTH.search(pattern.replace("{{", "").replace("}}", "")):
        raise TemplateError(
            f"the chat template asks for a width of more than {MAX_WIDTH} in the format {pattern[:80]!r}"
        )


def check_replace(text: str, old: Any, new: Any) -> None:
    """Check what ``text.replace(old, new)`` would make."""
    limit(len(text) + text.count(str(old)) * len(str(new)))


def check_join(separator: Any, parts: list[Any]) -> None:
    """Check what ``separator.join(parts)`` would make."""
    limit(weight(parts) + len(parts) * len(str(separator)))
