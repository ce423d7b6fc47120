"""Parsing of tools, tool_choice and messages with tool calls; errors name the item at fault."""

import pytest

from realizar.calls import ToolCall
from realizar.calls.messages import normalize_tool_calls
from realizar.calls.tool import choose, read_tools
from realizar.errors import ParameterError, TemplateError

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def tool(name="f", **more):
    return {"type": "function", "function": {"name": name, **more}}


def test_tools_are_parsed():
    first, second = read_tools([tool(parameters=SCHEMA, description="Does it."), tool("g")])
    assert (first.name, first.parameters) == ("f", SCHEMA)
    assert (second.name, second.parameters) == ("g", {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([], "non-empty list"),
        ("f", "must be a non-empty list"),
        (tool(), "must be a non-empty list"),
        ([len], r"tools\[0\]=.*must be"),
        ([tool(), {"name": "g"}], r"tools\[1\]=.*must be"),
        ([{"type": "function", "function": "f"}], r"tools\[0\]"),
        ([tool(None)], "name None"),
        ([tool("a b")], "name 'a b'"),
        ([tool("x" * 65)], "1 to 64"),
        ([tool('"')], "name"),
        ([tool(), tool()], "two have the same name"),
        ([tool(parameters=[1])], r"tools\[0\] \(f\): parameters=\[1\]"),
        ([tool(parameters={"type": "array"})], "must be a JSON schema"),
    ],
)
def test_invalid_tools(tools, problem):
    with pytest.raises(ParameterError, match=problem):
        read_tools(tools)


def test_nullable_arguments_may_be_null():
    schema = {"properties": {"n": {"type": "integer", "nullable": True}, "s": {"type": "string"}}}
    deep = {"properties": {"l": {"items": {"type": "string", "enum": ["a"], "nullable": True}}}}
    (given,) = read_tools([tool(parameters=schema)])
    assert given.parameters["properties"]["n"]["type"] == ["integer", "null"]
    assert given.parameters["properties"]["s"] == {"type": "string"}
    assert schema["properties"]["n"]["type"] == "integer"  # the template gets the caller's schema
    (given,) = read_tools([tool(parameters=deep)])
    assert given.parameters["properties"]["l"]["items"] == {
        "type": ["string", "null"], "enum": ["a", None], "nullable": True,
    }  # fmt: skip
    deep = {"items": {}}
    for _ in range(10_000):
        deep = {"items": deep}
    assert read_tools([tool(parameters={"properties": deep})])[0].parameters["properties"] is deep


def test_choices():
    tools = read_tools([tool("f"), tool("g")])
    assert [choose(tools, choice) for choice in ("auto", "none", "required")] == [
        (tools, "auto"), (tools, "none"), (tools, "required")
    ]  # fmt: skip
    assert choose(tools, tool("g")) == ([tools[1]], "one")


def allowed(mode, *tools):
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def test_allowed_tools():
    tools = read_tools([tool("f"), tool("g"), tool("h")])
    for mode in ("auto", "required"):
        assert choose(tools, allowed(mode, tool("h"), tool("f"), tool("h"))) == ([tools[0], tools[2]], mode)


@pytest.mark.parametrize(
    "choice",
    ["any", None, 1, tool("h"), tool(["f"]), {"type": "function"}, {"name": "f"}, {"type": "allowed_tools"},
     allowed("none", tool("f")), allowed(["auto"], tool("f")), allowed("auto"), allowed("auto", tool("h")),
     allowed("auto", "f"), allowed("auto", {"type": "function"}), allowed("auto", allowed("auto", tool("f")))],
)  # fmt: skip
def test_invalid_choices(choice):
    with pytest.raises(ParameterError, match="tool_choice"):
        choose(read_tools([tool("f")]), choice)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"type": "allowed_tools"}, "allowed_tools=None: must be an object with mode and tools"),
        (allowed("none", tool("f")), r"allowed_tools\.mode='none': must be 'auto' or 'required'"),
        (allowed("auto"), r"allowed_tools\.tools=\[\]: must be a list of at least one"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": "f"}}, r"allowed_tools\.tools='f': must"),
        (allowed("auto", tool("f"), "f"), r"allowed_tools\.tools\[1\]='f': must be \{'type': 'function'"),
        (allowed("auto", {"type": "function", "function": {}}), r"allowed_tools\.tools\[0\]=\{'type'.*must be"),
        (allowed("auto", tool("h")), r"allowed_tools\.tools\[0\]='h': must be the name of one of the tools: f, g"),
    ],
)
def test_wrong_allowed_tools_say_where(choice, message):
    with pytest.raises(ParameterError, match=f"tool_choice: {message}"):
        choose(read_tools([tool("f"), tool("g")]), choice)


CALL = ToolCall("aB3456789", "f", {"x": ["ä", 1.5]})


@pytest.mark.parametrize("call", [CALL, CALL.as_message()])
def test_tool_calls_are_normalized(call):
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    (as_object,) = normalize_tool_calls([message])
    (as_text,) = normalize_tool_calls([message], as_text=True, no_content="")
    assert as_object["tool_calls"] == [
        {"id": "aB3456789", "type": "function", "function": {"name": "f", "arguments": CALL.arguments}}
    ]
    assert as_text["tool_calls"][0]["function"]["arguments"] == '{"x": ["ä", 1.5]}'
    assert (as_object["content"], as_text["content"]) == (None, "")
    assert message["tool_calls"] == [call]


def test_other_messages_are_unchanged():
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, "no message"]
    assert normalize_tool_calls(messages) == messages
    assert normalize_tool_calls([{**messages[1], "tool_calls": none} for none in (None, [])]) == [messages[1]] * 2
    assert normalize_tool_calls(None) is None


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        ("f", r'messages\[0\]: "tool_calls" must be a list'),
        ([1], r"messages\[0\], call 0: must be"),
        ([{"name": "f"}], "must be"),
        ([{"function": {"name": "f", "arguments": "{"}}], "arguments of f are not valid JSON"),
        ([{"function": {"name": "f", "arguments": "[" * 100_000}}], "arguments of f are not valid JSON"),
        ([CALL, {"function": {"name": "f", "arguments": "[1]"}}], "call 1: the arguments of f must be an object"),
    ],
)
def test_malformed_calls(calls, problem):
    with pytest.raises(TemplateError, match=problem):
        normalize_tool_calls([{"role": "assistant", "tool_calls": calls}])
