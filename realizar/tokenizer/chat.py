"""ChatTemplate: messages to a prompt, by the jinja2 template that comes with the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from realizar.errors import TemplateError
from realizar.forks import cached_property
from realizar.tokenizer import template_limits
from realizar.tokenizer.messages import Fitting, Message, checked

if TYPE_CHECKING:
    from jinja2 import Template

    from realizar.tokenizer.sandbox import BoundedEnvironment


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
            Each with a "role" and, as a rule, a "content": a str, or a list of parts {"type": "text", "text": str}.
            They are brought into the form that the template takes: see `messages.Fitting`.
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

        with metered():  # what is learned on the way is paid from the same account
            fitted = self._fitting.fit(checked(messages))
            given = {name: value for name, value in variables.items() if value is not None}
            return self._run(fitted, **{**self._absent, **given}, add_generation_prompt=add_generation_prompt)

    def _run(self, messages: Sequence[Message], **variables: Any) -> str:
        """Render as it is asked."""
        from realizar.tokenizer.sandbox import metered

        try:
            template = self._template
            known = {**variables, "messages": messages, "bos_token": self.bos, "eos_token": self.eos}
            with metered() as meter:
                return _gather(template, known, meter)
        except TemplateError:
            raise
        except Exception as error:  # a template is a program: it may fail in any way
            raise TemplateError(_failed(error)) from error

    @cached_property
    def _fitting(self) -> Fitting:
        return Fitting(lambda messages: self._run(messages, **self._absent, add_generation_prompt=False))

    @cached_property
    def _absent(self) -> dict[str, None]:
        """What the template gets for tools and documents where there are none.

        None, as from transformers; templates that fail on it, as they go through their tools all the same, get nothing.
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
        """Names that the template takes from outside, "messages" among them.

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
            raise TemplateError(_failed(error)) from error

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


def _gather(template: Template, variables: Mapping[str, Any], meter: template_limits.Meter) -> str:
    pieces, total = [], 0
    for piece in template.generate(variables):
        meter.spend(1)
        total += len(piece)
        template_limits.limit(total)
        pieces.append(piece)
    return "".join(pieces)


def _failed(error: BaseException) -> str:
    """Return how a template failed, and what helps where it misses a variable that no engine sets."""
    missing = re.search(r"'(\w+)' is undefined", str(error))
    help_ = f"; give it what its card names: chat_template_kwargs={{{missing[1]!r}: ...}}" if missing else ""
    return f"the chat template failed{_line(error)}: {type(error).__name__}: {error}{help_}"


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
    template_limits.limit(template_limits.weight(value))
    template_limits.check_width(indent)
    pieces, total = [], 0
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_listed
    )
    for piece in encoder.iterencode(value):
        total += len(piece)
        template_limits.limit(total)
        pieces.append(piece)
    return "".join(pieces)


def _listed(value: Any) -> list[Any]:
    """Return the items of an iterator (what `map` and `select` give), which the other engines write as a list."""
    if not isinstance(value, Iterator):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    items: list[Any] = []
    for item in value:
        template_limits.limit(len(items) + 1)
        items.append(item)
    template_limits.limit(template_limits.weight(items))
    return items
