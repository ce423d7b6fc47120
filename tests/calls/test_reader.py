"""CallReader: text and calls are parted the same way wherever the pieces end."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar.calls import CallForm, CallReader, ToolCall
from tests.calls import templates

FORMS = {
    name: CallForm.learn(templates.chat(getattr(templates, name)), ["<|im_end|>"])
    for name in ("HERMES", "LLAMA", "MISTRAL", "MISTRAL_SMALL", "DEEPSEEK", "NUMBERED")
}
NAMES = ["f", "f_2", "a.b/c:d"]


def written(form, calls):
    """What an answer that makes calls ends with; an id stands where the form has one."""
    texts = [form.opening]
    for i, call in enumerate(calls):
        if i:
            texts.append(form.between.replace("\1", calls[i - 1].id))
        texts[-1] = texts[-1].replace("\0", call.id)
        texts += [call.name, form.middle.replace("\0", call.id), json.dumps(call.arguments)]
    return "".join([*texts, form.closing.replace("\1", calls[-1].id)])


def read(form, pieces):
    reader = CallReader(form, NAMES, lambda i: f"written-{i}")
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
def test_what_was_written_is_read(name, data):
    form = FORMS[name]
    said = data.draw(st.text("ab<[{\n ", max_size=9)) if form.marker else data.draw(st.sampled_from(["", " ", "\n"]))
    made = data.draw(st.lists(calls, min_size=1, max_size=3 if form.between is not None else 1))
    whole = said + written(form, made)
    text, found = read(form, cut(whole, data.draw(st.lists(st.integers(0, len(whole)), max_size=9))))
    assert text == (said if form.marker else "")
    assert [(call.name, call.arguments) for call in found] == [(call.name, call.arguments) for call in made]
    has_ids = any(mark in form.opening + form.middle + form.closing for mark in "\0\1")
    assert [call.id for call in found] == [call.id if has_ids else f"written-{i}" for i, call in enumerate(made)]


@pytest.mark.parametrize("name", FORMS)
@settings(deadline=None)
@given(text=st.text('ab<>[]{"name: tool_callTOOL', max_size=30), places=st.lists(st.integers(0, 30), max_size=9))
def test_text_without_calls_passes(name, text, places):
    form = FORMS[name]
    if form.marker in text if form.marker else text.lstrip(" \n").startswith(form.start):
        return
    assert read(form, cut(text, places)) == (text, [])


def test_the_beginning_of_a_call_at_the_end_of_a_text_is_text():
    assert read(FORMS["HERMES"], ["a <tool", "_cal"]) == ("a <tool_cal", [])
    assert read(FORMS["LLAMA"], ['{"na', 'me": ']) == ('{"name": ', [])


def test_mistral_may_leave_the_ids_out():
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "f_2", "arguments": {"a": 1}}]'
    assert read(FORMS["MISTRAL"], [text])[1] == [ToolCall("written-0", "f", {}), ToolCall("written-1", "f_2", {"a": 1})]


def test_a_call_counts_once_its_arguments_are_whole():
    form = FORMS["HERMES"]
    whole = written(form, [ToolCall("", "f", {"a": {"b": "}"}}), ToolCall("", "f_2", {})])
    first = whole.index("}}") + 2
    second = whole.index("{}") + 2
    for n in range(len(whole) + 1):
        assert len(read(form, [whole[:n]])[1]) == (n >= first) + (n >= second)


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000, "1e999", '"\\ud800"', "NaN", '"' + "x" * 100_000 + '"'])
def test_arguments_that_python_does_not_like(value):
    text = f'{{"name": "f", "parameters": {{"a": {value}}}}}'
    found = read(FORMS["LLAMA"], [text])[1]
    assert [call.name for call in found] == ([] if value.startswith("[") else ["f"])
