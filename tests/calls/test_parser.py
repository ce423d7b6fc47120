"""ToolCallParser: text and calls are separated the same way however the text is cut into pieces."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.calls import Tool, ToolCall, ToolCallParser
from realizar.calls.probe import learned_format
from tests.calls import templates

FORMS = {
    name: learned_format(templates.chat(getattr(templates, name)), ["<|im_end|>"])
    for name in ("HERMES", "LLAMA", "MISTRAL", "MISTRAL_SMALL", "DEEPSEEK", "NUMBERED")
}
NAMES = ["f", "f_2", "a.b/c:d"]
TOOLS = [Tool(name, {"type": "object"}) for name in NAMES]


def written(fmt, calls):
    """The calls as a model writes them, with ids where the format has them."""
    texts = [fmt.opening]
    for i, call in enumerate(calls):
        if i:
            texts.append(fmt.between.replace("\1", calls[i - 1].id))
        texts[-1] = texts[-1].replace("\0", call.id)
        texts += [call.name, fmt.middle.replace("\0", call.id).replace("\2", str(i)), json.dumps(call.arguments)]
    return "".join([*texts, fmt.closing.replace("\1", calls[-1].id)])


def read(fmt, pieces):
    reader = ToolCallParser(fmt, TOOLS, lambda i: f"written-{i}")
    text = "".join(map(reader.push, pieces)) + reader.flush()
    return text, reader.calls()


def cut(text, places):
    ends = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)]


arguments = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()), max_size=3
)
calls = st.builds(ToolCall, st.from_regex("[A-Za-z0-9]{9}", fullmatch=True), st.sampled_from(NAMES), arguments)


@pytest.mark.parametrize("name", FORMS)
@settings(deadline=None)
@given(data=st.data())
def test_calls_round_trip(name, data):
    fmt = FORMS[name]
    said = data.draw(st.text("ab<[{\n ", max_size=9)) if fmt.marker else data.draw(st.sampled_from(["", " ", "\n"]))
    made = data.draw(st.lists(calls, min_size=1, max_size=3 if fmt.between is not None else 1))
    whole = said + written(fmt, made)
    text, found = read(fmt, cut(whole, data.draw(st.lists(st.integers(0, len(whole)), max_size=9))))
    assert text == (said if fmt.marker else "")
    assert [(call.name, call.arguments) for call in found] == [(call.name, call.arguments) for call in made]
    has_ids = any(mark in fmt.opening + fmt.middle + fmt.closing for mark in "\0\1")
    assert [call.id for call in found] == [call.id if has_ids else f"written-{i}" for i, call in enumerate(made)]


@pytest.mark.parametrize("name", FORMS)
@settings(deadline=None)
@given(text=st.text('ab<>[]{"name: tool_callTOOL', max_size=30), places=st.lists(st.integers(0, 30), max_size=9))
def test_text_without_calls_is_unchanged(name, text, places):
    fmt = FORMS[name]
    if fmt.marker in text if fmt.marker else text.lstrip(" \n").startswith(fmt.start):
        return
    assert read(fmt, cut(text, places)) == (text, [])


def test_incomplete_marker_at_the_end_is_text():
    assert read(FORMS["HERMES"], ["a <tool", "_cal"]) == ("a <tool_cal", [])
    assert read(FORMS["LLAMA"], ['{"na', 'me": ']) == ('{"name": ', [])


def test_mistral_ids_are_optional():
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f_2", "arguments": {"a": 1}}]'
    assert read(FORMS["MISTRAL"], [text])[1] == [ToolCall("written-0", "f", {}), ToolCall("written-1", "f_2", {"a": 1})]


def test_call_is_reported_once_its_arguments_are_complete():
    fmt = FORMS["HERMES"]
    whole = written(fmt, [ToolCall("", "f", {"a": {"b": "}"}}), ToolCall("", "f_2", {})])
    first = whole.index("}}") + 2
    second = whole.index("{}") + 2
    for n in range(len(whole) + 1):
        assert len(read(fmt, [whole[:n]])[1]) == (n >= first) + (n >= second)


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000, "1e999", '"\\ud800"', "NaN", '"' + "x" * 100_000 + '"'])
def test_arguments_at_the_limits_of_python_json(value):
    text = f'{{"name": "f", "parameters": {{"a": {value}}}}}'
    found = read(FORMS["LLAMA"], [text])[1]
    assert [call.name for call in found] == ([] if value.startswith("[") else ["f"])
