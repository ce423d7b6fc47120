"""BoundedEnvironment: jinja2's immutable sandbox in which a chat template can neither run nor grow for ever.

Jinja2 calls a method of ours for every call and operator, filters are wrapped here, and the syntax tree is rewritten so
that loops and the expressions that make new values go through two filters of ours, `counted`, `weighed` and `made`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from realizar.errors import TemplateError
from realizar.tokenizer import template_limits

_meter: ContextVar[template_limits.Meter] = ContextVar("meter")

# Jinja2's own filters that chat templates may use; each makes at most as much as it is given, or is checked below.
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "format", "groupby",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "truncate",
    "unique", "upper", "wordcount",
)  # fmt: skip

# What a template may do to lists of its own (Kimi-K2 keeps a queue of ids); each pays for the whole list.
_CHANGES = ("append", "pop")


@contextmanager
def metered() -> Iterator[template_limits.Meter]:
    """Open the account that everything inside pays into; inside of another one, go on with that."""
    if (open_meter := _meter.get(None)) is not None:
        yield open_meter
        return
    meter = template_limits.Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The environment of chat templates; compile and render inside `metered`."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        # The optimizer would evaluate filters of constants while compiling.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=_finalize,
            extensions=[loopcontrols, GenerationBlock],
        )  # fmt: skip
        own = self.filters
        self.filters = {"counted": _counted, "weighed": _weighed, "made": _made}
        for name in _FILTERS:
            self.add_filter(name, own[name])
        self.globals = {name: self.globals[name] for name in ("range", "dict", "cycler", "joiner")}
        self.globals["namespace"] = TemplateNamespace

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Give templates a filter, arguments checked and results paid for like those of jinja2's own."""
        self.filters[name] = _weighed_filter(name, function)

    def template(self, source: str) -> Template:
        """Compile a template whose loops and new values pay."""
        tree = _Rewriter().visit(self.parse(source))
        tree.set_environment(self)
        return self.from_string(tree)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may use an attribute: none that changes what it was given."""
        changes_own = isinstance(obj, template_limits.MadeList) and attr in _CHANGES
        return changes_own or super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator of a template."""
        template_limits.check_operator(operator, left, right)
        return _weighed(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function, macro or method from a template."""
        _meter.get().spend(1)
        args = _check_method(__obj, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        if getattr(__obj, "__name__", "") in _CHANGES and isinstance(owner := __obj.__self__, template_limits.MadeList):
            _weighed(owner)
        return _weighed(result)


class TemplateNamespace(Namespace):
    """Jinja2's namespace that does not print what it holds, since it may hold itself many times over."""

    def __repr__(self) -> str:
        return "<namespace>"


class GenerationBlock(Extension):
    """``{% generation %}``, with which templates mark the model's own words for training; here its body is all."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Rewriter(NodeTransformer):
    """Sends loops through `counted` and everything that makes a new value through `weighed`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        # A round may also put out the literal text of the loop's body.
        literal = sum(len(data.data) for part in node.body for data in part.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "counted", nodes.Const(1 + literal))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        # Two at a time, since each step may at most double.
        self.generic_visit(node)
        return functools.reduce(lambda a, b: _filter(nodes.Concat([a, b]), "weighed"), node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return _filter(self.generic_visit(node), "made")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return _filter(self.generic_visit(node), "weighed")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "weighed") if node.ctx == "load" else node


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=getattr(node, "lineno", None))


def _counted(items: Iterable[Any], cost: int) -> Iterator[Any]:
    for item in items:
        _meter.get().spend(cost)
        yield item


def _weighed(value: Any) -> Any:
    return _meter.get().take(value)


def _made(items: list[Any]) -> template_limits.MadeList:
    made: template_limits.MadeList = _weighed(template_limits.MadeList(items))
    return made


@pass_context  # so that jinja2 does not apply it to constants while compiling
def _finalize(context: Context, value: Any) -> Any:
    return _weighed(value)


def _check_method(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Check a call of a method of str or int; return the arguments, iterators listed."""
    method = getattr(function, "__wrapped__", function)  # jinja2 wraps str.format
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if isinstance(owner, template_limits.MadeList) and name in _CHANGES and owner.held:
        raise TemplateError(f"the chat template calls {name} of a list that another value holds")
    if not isinstance(owner, (str, int)):
        return args
    if name in ("encode", "expandtabs", "to_bytes", "translate"):
        raise TemplateError(f"chat templates may not call {type(owner).__name__}.{name}")
    template_limits.check_width(*args, *kwargs.values())
    if isinstance(owner, str) and name in ("format", "format_map"):
        template_limits.check_braces(owner)
    elif isinstance(owner, str) and name == "replace" and len(args) >= 2:
        template_limits.check_replace(owner, args[0], args[1])
    elif isinstance(owner, str) and name == "join" and args:
        args = (list(args[0]),)
        template_limits.check_join(owner, args[0])
    elif name in ("strip", "lstrip", "rstrip"):
        template_limits.check_set(*args)
    return args


def _check_filter(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a filter that can make more than it is given; iterators in `args` become lists."""

    def argument(position: int, keyword: str, default: Any) -> Any:
        return args[position] if len(args) > position else kwargs.get(keyword, default)

    if name == "replace":
        template_limits.check_replace(str(args[0]), argument(1, "old", ""), argument(2, "new", ""))
    elif name == "join":
        args[0] = list(args[0])
        template_limits.check_join(argument(1, "d", ""), args[0])
    elif name == "indent":
        width = argument(1, "width", 4)
        template_limits.check_width(width)
        text = str(args[0])
        template_limits.limit(
            len(text) + (len(text.splitlines()) + 1) * (width if isinstance(width, int) else len(width))
        )
    elif name == "format":
        template_limits.check_percent(str(args[0]))
    elif name == "trim":
        template_limits.check_set(argument(1, "chars", None))
    elif name in ("float", "int"):
        template_limits.check_width(len(str(args[0])))
    elif name == "round":
        template_limits.check_width(*args[1:], *kwargs.values())
    elif name == "sum" and not isinstance(argument(2, "start", 0), (int, float)):
        raise TemplateError("chat templates may only sum numbers")


def _weighed_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter of jinja2's: arguments checked, result paid for."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0  # the context or environment that jinja2 passes first

    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        checked = list(args[skip:])
        _check_filter(name, checked, kwargs)
        return _weighed(function(*args[:skip], *checked, **kwargs))

    return filtered
