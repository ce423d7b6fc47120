"""The grammar of a completion that may contain tool calls, in llguidance's Lark."""

from __future__ import annotations

from collections.abc import Sequence

from realizar.calls.notation import Rules
from realizar.calls.tool import Tool
from realizar.calls.tool_format import ToolCallFormat, items
from realizar.errors import GrammarError
from realizar.sampling.grammar.patterns import Split
from realizar.sampling.grammar.schema import read_schema


def completion_grammar(
    tool_format: ToolCallFormat, tools: Sequence[Tool], mode: str, split: Split, lenient: bool = False
) -> str:
    """Return the grammar of a completion.

    Whitespace in the arguments must match what the template renders, because the model was trained on that.

    Parameters
    ----------
    tool_format : ToolCallFormat
    tools : sequence of Tool
        The tools that may be called.
    mode : {"auto", "none", "required", "one"}
        Text, then optional calls; only text; only calls; exactly one call.
    split : callable
        See `realizar.sampling.grammar.patterns.Split`.
    lenient : bool
        See `realizar.sampling.grammar.schema.json_rule`.

    Raises
    ------
    GrammarError
        A schema is not valid JSON, or too large, or the format cannot enforce a keyword of it.
    """
    rules = Rules([], "", split, lenient)
    text_and_call = tool_format.text_rules(rules, [tool.name for tool in tools])
    if mode == "none":
        return _text("text", rules)
    for i, tool in enumerate(tools):
        rules.rule(f"arguments_{i}", _arguments(tool_format, tool, rules.within(f"t{i}")))
        rules.rule(f"call_{i}", tool_format.call(tool.name, f"arguments_{i}", rules))
    any_call = rules.rule("call", " | ".join(f"call_{i}" for i in range(len(tools))))
    once = mode == "one" or tool_format.between is None
    more = "" if once else f"({items(tool_format.between or '', rules)} {any_call})*"
    rules.rule("more", f"{more} {items(tool_format.closing, rules)}".strip() or '""')
    rules.lines.extend(("ID: /[A-Za-z0-9]{9}/", "NUMBER: /[0-9]{1,4}/"))
    if mode != "auto":
        return _text("opening call more", rules)
    return _text(f"text | {text_and_call} more", rules)


def _text(start: str, rules: Rules) -> str:
    return "\n".join([f"start: {start}", *rules.lines]) + "\n"


def _arguments(tool_format: ToolCallFormat, tool: Tool, rules: Rules) -> str:
    try:
        read = Tool(tool.name, read_schema(tool.parameters))
        return tool_format.arguments.rules(read, rules)
    except GrammarError as error:
        raise GrammarError(f"tool {tool.name}: {error}") from None
