"""ChatTemplate: messages to a prompt, by the jinja2 template that comes with the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from realizar.errors import TemplateError, shown
from realizar.forks import cached_property
from realizar.tokenizer import bounds

if TYPE_CHECKING:
    from jinja2 import Template

Message = Mapping[str, Any]


class ChatTemplate:
    """A chat template, compiled when it is first used; may be used by many threads at once.

    Parameters
    ----------
    source : str
        The jinja2 source (tokenizer.chat_template).
    bos, eos : str
        The texts of the tokens that begin and end a text; empty where the model has none.
    """

    def __init__(self, source: str, bos: str, eos: str) -> None:
        self.source = source
        self.bos = bos
        self.eos = eos

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> str:
        """Return the prompt; encode it with ``add_special=False, parse_special=True``, as it holds its own BOS.

        Parameters
        ----------
        messages : sequence of mapping
            Each with a "role" and, as a rule, a "content" (a str, or a list of parts where the model takes them).
        add_generation_prompt : bool
            End with the beginning of the assistant's answer.
        **variables
            What else the template knows: tools, enable_thinking, ...

        Raises
        ------
        TemplateError
            A message is malformed, or the template fails, refuses the messages, or runs out of its bounds: 2^23
            characters of output, 5 s.
        """
        from realizar.tokenizer.sandbox import metered

        known = {
            "messages": _checked(messages), "add_generation_prompt": add_generation_prompt,
            "bos_token": self.bos, "eos_token": self.eos,
        }  # fmt: skip
        try:
            template = self._template
            with metered() as meter:
                return _gather(template, {"tools": None, "documents": None, **variables, **known}, meter)
        except TemplateError:
            raise
        except Exception as error:  # a template is a program: it may fail in any way
            raise TemplateError(f"the chat template failed{_line(error)}: {type(error).__name__}: {error}") from error

    @cached_property
    def _template(self) -> Template:
        from realizar.tokenizer.sandbox import BoundedEnvironment, metered

        environment = BoundedEnvironment()
        environment.add_filter("tojson", tojson)
        environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
        with metered():
            return environment.template(self.source)


def _gather(template: Template, variables: Mapping[str, Any], meter: bounds.Meter) -> str:
    pieces, total = [], 0
    for piece in template.generate(variables):
        meter.spend(1)
        total += len(piece)
        bounds.limit(total)
        pieces.append(piece)
    return "".join(pieces)


def _checked(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages as plain dicts; raises TemplateError that says which one is malformed and why."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise TemplateError(f"messages: needs a list of messages, found {type(messages).__name__}")
    if not messages:
        raise TemplateError('messages: the list is empty; give at least [{"role": "user", "content": "..."}]')
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TemplateError(f'messages[{i}]: needs {{"role": ..., "content": ...}}, found {type(message).__name__}')
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not role:
            raise TemplateError(f'messages[{i}]: "role" must be a text such as "user", found {shown(role)}')
        if content is None and not message.get("tool_calls"):
            raise TemplateError(f'messages[{i}]: has no "content" (role {shown(role)})')
        parts = content if isinstance(content, list) else []
        if not isinstance(content, (str, list, type(None))) or not all(isinstance(p, Mapping) for p in parts):
            raise TemplateError(
                f'messages[{i}]: "content" must be a text or a list of parts (dicts), found {shown(content)}'
            )
    return [dict(message) for message in messages]


def _line(error: BaseException) -> str:
    """Return " in line N" where the error came from the template's own lines."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""


def raise_exception(message: str) -> NoReturn:
    """Let a template refuse its messages."""
    raise TemplateError(f"the chat template refuses these messages: {message}")


def strftime_now(pattern: str) -> str:
    """Give a template the local time."""
    return datetime.now().strftime(pattern)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON as transformers does: nothing escaped for HTML, characters as they are."""
    bounds.limit(bounds.weight(value))
    bounds.check_width(indent)
    pieces, total = [], 0
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    for piece in encoder.iterencode(value):
        total += len(piece)
        bounds.limit(total)
        pieces.append(piece)
    return "".join(pieces)
