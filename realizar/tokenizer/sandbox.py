"""BoundedEnvironment: jinja2's immutable sandbox with limits on the time and memory of a chat template.

Jinja2 calls our methods for every call and operator. We wrap its filters, and rewrite the syntax tree so that loops and
expressions that make new values pass through our filters `metered_loop`, `metered_value` and `metered_list`.
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

# Jinja2's filters that chat templates may use; each returns at most as much as it receives, or is checked below.
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "format", "groupby",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "truncate",
    "unique", "upper", "wordcount",
)  # fmt: skip

# Methods that a template may call on its own lists (Kimi-K2 keeps a queue of ids); each call charges the whole list.
_MUTATORS = ("append", "pop")


@contextmanager
def metered() -> Iterator[template_limits.Meter]:
    """Open a budget for everything inside; a nested call continues with the outer budget."""
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
        # The optimizer would evaluate filters of constants at compile time.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, finalize=_finalize,
            extensions=[loopcontrols, GenerationBlock],
        )  # fmt: skip
        own = self.filters
        self.filters = {"metered_loop": _metered_loop, "metered_value": _metered_value, "metered_list": _metered_list}
        for name in _FILTERS:
            self.add_filter(name, own[name])
        self.globals = {name: self.globals[name] for name in ("range", "dict", "cycler", "joiner")}
        self.globals["namespace"] = TemplateNamespace

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Add a filter for templates, with the same checks and metering as jinja2's own."""
        self.filters[name] = _metered_filter(name, function)

    def template(self, source: str) -> Template:
        """Compile a template with metered loops and values."""
        tree = _Rewriter().visit(self.parse(source))
        tree.set_environment(self)
        return self.from_string(tree)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use an attribute: none that mutates its inputs."""
        mutates_own_list = isinstance(obj, template_limits.TemplateList) and attr in _MUTATORS
        return mutates_own_list or super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator of a template."""
        template_limits.check_operator(operator, left, right)
        return _metered_value(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function, macro or method from a template."""
        _meter.get().spend(1)
        args = _check_method(__obj, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        if getattr(__obj, "__name__", "") in _MUTATORS and isinstance(
            owner := __obj.__self__, template_limits.TemplateList
        ):
            _metered_value(owner)
        return _metered_value(result)


class TemplateNamespace(Namespace):
    """Jinja2's namespace without its repr, which could be huge because a namespace may contain itself."""

    def __repr__(self) -> str:
        return "<namespace>"


class GenerationBlock(Extension):
    """``{% generation %}``, which marks the model's turns for training; rendered as its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements of the body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Rewriter(NodeTransformer):
    """Inserts the metering filters around loops and expressions that make new values."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        # An iteration also outputs the literal text of the loop body.
        literal = sum(len(data.data) for part in node.body for data in part.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "metered_loop", nodes.Const(1 + literal))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        # Two operands at a time, so that each step at most doubles the size.
        self.generic_visit(node)
        return functools.reduce(lambda a, b: _filter(nodes.Concat([a, b]), "metered_value"), node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return _filter(self.generic_visit(node), "metered_list")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return _filter(self.generic_visit(node), "metered_value")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "metered_value") if node.ctx == "load" else node


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=getattr(node, "lineno", None))


def _metered_loop(items: Iterable[Any], cost: int) -> Iterator[Any]:
    for item in items:
        _meter.get().spend(cost)
        yield item


def _metered_value(value: Any) -> Any:
    return _meter.get().charge(value)


def _metered_list(items: list[Any]) -> template_limits.TemplateList:
    metered: template_limits.TemplateList = _metered_value(template_limits.TemplateList(items))
    return metered


@pass_context  # so that jinja2 does not apply it to constants at compile time
def _finalize(context: Context, value: Any) -> Any:
    return _metered_value(value)


def _check_method(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Check a method call on str or int; return the arguments, with iterators as lists."""
    method = getattr(function, "__wrapped__", function)  # jinja2 wraps str.format
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if isinstance(owner, template_limits.TemplateList) and name in _MUTATORS and owner.referenced:
        raise TemplateError(f"the chat template calls {name} on a list that another value references")
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
        template_limits.check_strip_set(*args)
    return args


def _check_filter(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a filter whose result may be larger; iterators in `args` become lists."""

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
        template_limits.check_size(
            len(text) + (len(text.splitlines()) + 1) * (width if isinstance(width, int) else len(width))
        )
    elif name == "format":
        template_limits.check_percent(str(args[0]))
    elif name == "trim":
        template_limits.check_strip_set(argument(1, "chars", None))
    elif name in ("float", "int"):
        template_limits.check_width(len(str(args[0])))
    elif name == "round":
        template_limits.check_width(*args[1:], *kwargs.values())
    elif name == "sum" and not isinstance(argument(2, "start", 0), (int, float)):
        raise TemplateError("chat templates may only sum numbers")


def _metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter: check its arguments and charge its result to the budget."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0  # jinja2 passes the context or environment first

    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        checked = list(args[skip:])
        _check_filter(name, checked, kwargs)
        return _metered_value(function(*args[:skip], *checked, **kwargs))

    return filtered
