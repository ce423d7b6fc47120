"""ChatTemplate: renders messages to a prompt with the model's jinja2 template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from realizar.errors import TemplateError
from realizar.forks import cached_property
from realizar.tokenizer import template_limits
from realizar.tokenizer.messages import Message, MessageAdapter, checked

if TYPE_CHECKING:
    from jinja2 import Template

    from realizar.tokenizer.sandbox import BoundedEnvironment


class ChatTemplate:
    """A chat template, compiled on first use. Thread-safe.

    Parameters
    ----------
    source : str
        The jinja2 source (tokenizer.chat_template).
    bos, eos : str
        Texts of the BOS and EOS tokens; empty if the model has none.
    """

    def __init__(self, source: str, bos: str, eos: str) -> None:
        self.source = source
        self.bos = bos
        self.eos = eos

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> str:
        """Render the prompt. Encode it with ``add_special=False, parse_special=True``: it contains its own BOS.

        Parameters
        ----------
        messages : sequence of mapping
            Each with a "role" and usually a "content": a str, or a list of parts {"type": "text", "text": str}. They
            are adapted to what the template supports: see `messages.MessageAdapter`.
        add_generation_prompt : bool
            End with the start of the assistant's turn.
        **variables
            Additional template variables: tools, enable_thinking, ...

        Raises
        ------
        TemplateError
            A message is malformed, or the template fails, rejects the messages, or exceeds its limits: 2^23 characters
            of output, 5 s.
        """
        from realizar.tokenizer.sandbox import metered

        with metered():  # probe renderings count against the same budget
            adapted = self._adapter.adapt(checked(messages))
            absent = {name for name in ("tools", "documents") if variables.get(name) is None}
            defined = {name: value for name, value in variables.items() if name not in absent}
            return self._run(adapted, **{**self._absent, **defined}, add_generation_prompt=add_generation_prompt)

    def _run(self, messages: Sequence[Message], **variables: Any) -> str:
        """Render exactly these messages and variables."""
        from realizar.tokenizer.sandbox import metered

        try:
            template = self._template
            context = {**variables, "messages": messages, "bos_token": self.bos, "eos_token": self.eos}
            with metered() as meter:
                return _join_output(template, context, meter)
        except TemplateError:
            raise
        except Exception as error:  # a template can raise anything
            raise TemplateError(_error_message(error)) from error

    @cached_property
    def _adapter(self) -> MessageAdapter:
        return MessageAdapter(lambda messages: self._run(messages, **self._absent, add_generation_prompt=False))

    @cached_property
    def _absent(self) -> dict[str, None]:
        """The values of tools and documents if there are none.

        None, as in transformers; undefined for templates that fail on None because they iterate over it.
        """
        none = {"tools": None, "documents": None}
        messages = checked([{"role": "user", "content": "A question."}])
        for variables in (none, {}):
            try:
                self._run(messages, **variables, add_generation_prompt=True)
            except TemplateError:
                continue
            return variables
        return none

    @cached_property
    def variables(self) -> frozenset[str]:
        """Names of the variables that the template uses, including "messages".

        Raises
        ------
        TemplateError
            If its syntax is wrong.
        """
        from jinja2 import TemplateSyntaxError
        from jinja2.meta import find_undeclared_variables

        try:
            return frozenset(find_undeclared_variables(self._environment.parse(self.source)))
        except (TemplateSyntaxError, RecursionError) as error:
            raise TemplateError(_error_message(error)) from error

    @cached_property
    def _template(self) -> Template:
        from realizar.tokenizer.sandbox import metered

        with metered():
            return self._environment.template(self.source)

    @cached_property
    def _environment(self) -> BoundedEnvironment:
        from realizar.tokenizer.sandbox import BoundedEnvironment

        environment = BoundedEnvironment()
        environment.add_filter("tojson", tojson)
        environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
        return environment


def _join_output(template: Template, variables: Mapping[str, Any], meter: template_limits.Meter) -> str:
    pieces, total = [], 0
    for piece in template.generate(variables):
        meter.spend(1)
        total += len(piece)
        template_limits.check_size(total)
        pieces.append(piece)
    return "".join(pieces)


def _error_message(error: BaseException) -> str:
    """Return the error message of a failed rendering, with a hint if the template misses a variable."""
    missing = re.search(r"'(\w+)' is undefined", str(error))
    help_ = (
        f"; the template needs a variable, see the model card: chat_template_kwargs={{{missing[1]!r}: ...}}"
        if missing
        else ""
    )
    return f"the chat template failed{_line(error)}: {type(error).__name__}: {error}{help_}"


def _line(error: BaseException) -> str:
    """Return " in line N" if the error was raised in the template itself."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""


def raise_exception(message: str) -> NoReturn:
    """Let a template reject its messages."""
    raise TemplateError(f"the chat template rejects these messages: {message}")


def strftime_now(pattern: str) -> str:
    """Format the local time for a template."""
    return datetime.now().strftime(pattern)


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Serialize to JSON as transformers does: no HTML escapes, non-ASCII characters unescaped."""
    template_limits.check_size(template_limits.printed_size(value))
    template_limits.check_width(indent)
    pieces, total = [], 0
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_iterator_to_list
    )
    for piece in encoder.iterencode(value):
        total += len(piece)
        template_limits.check_size(total)
        pieces.append(piece)
    return "".join(pieces)


def _iterator_to_list(value: Any) -> list[Any]:
    """Return the items of an iterator (from `map` or `select`), which other engines serialize as a list."""
    if not isinstance(value, Iterator):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    items: list[Any] = []
    for item in value:
        template_limits.check_size(len(items) + 1)
        items.append(item)
    template_limits.check_size(template_limits.printed_size(items))
    return items
