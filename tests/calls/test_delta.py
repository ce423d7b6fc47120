"""Deltas of tool calls: joined, they are the calls of the parser, however the text is cut into pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.calls import Tool, ToolCallParser
from realizar.calls.probe import learned_format
from realizar.tokenizer import ChatTemplate
from tests.calls import templates

NAMES = ["weather", "time", "time_of"]
TOOLS = [Tool(name, {"type": "object"}) for name in NAMES]
ARGUMENTS = [{"city": 'Ro"me\\ {', "n": [1, {"a": "}"}]}, {}, {"text": "é\n\\\\"}]
FORMATS = ["HERMES", "LLAMA", "MISTRAL", "MISTRAL_SMALL", "DEEPSEEK"]


def formats():
    for name in FORMATS:
        template = ChatTemplate(getattr(templates, name), "<s>", "<|im_end|>")
        yield name, learned_format(template, ["<|im_end|>"])


KNOWN = dict(formats())


def written(tool_format, calls):
    """The text that a model writes for some calls."""
    from realizar.calls.tool_format import ID_OF_NEXT, ID_OF_PREVIOUS

    text = tool_format.opening
    for i, (name, arguments) in enumerate(calls):
        between = (tool_format.between or "") if i else ""
        text += between + name + tool_format.middle + json.dumps(arguments, ensure_ascii=False)
    text += tool_format.closing
    for mark in (ID_OF_NEXT, ID_OF_PREVIOUS):
        while mark in text:
            text = text.replace(mark, f"abcdefg{text.count(mark):02}", 1)
    return text


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_deltas_join_to_the_calls(name, data):
    tool_format = KNOWN[name]
    n = data.draw(st.integers(1, 3)) if tool_format.between is not None else 1
    calls = [(data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(ARGUMENTS))) for _ in range(n)]
    text = written(tool_format, calls)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=20)))
    parser = ToolCallParser(tool_format, TOOLS, lambda i: f"made{i:05}")
    deltas = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        parser.push(text[begin:end])
        deltas += parser.take_deltas()
    parser.flush()
    deltas += parser.take_deltas()
    found = parser.calls()
    assert [(call.name, call.arguments) for call in found] == calls
    for i, call in enumerate(found):
        own = [delta for delta in deltas if delta.number == i]
        assert [(delta.id, delta.name) for delta in own] == [(call.id, call.name)] + [(None, None)] * (len(own) - 1)
        assert json.loads("".join(delta.arguments for delta in own)) == call.arguments
    assert [delta.number for delta in deltas] == sorted(delta.number for delta in deltas)


def test_a_truncated_call_is_streamed_as_far_as_it_came():
    parser = ToolCallParser(KNOWN["HERMES"], TOOLS, str)
    parser.push('<tool_call>\n{"name": "time", "arguments": {"city": "Ro')
    first, second = parser.take_deltas()
    assert (first.name, second.arguments) == ("time", '{"city": "Ro')
    parser.flush()
    assert parser.take_deltas() == []
    assert parser.calls() == []
