"""CallForm: the ways of known models are learned from their templates, and what cannot be followed is refused."""

import sys

import pytest

from realizar.calls import CallForm
from realizar.calls import form as forms
from realizar.calls.form import taken
from realizar.errors import TemplateError
from tests.calls import templates

ENDS = ["<|im_end|>"]


def learned(template):
    return CallForm.learn(templates.chat(template), ENDS)


def texts(form):
    return [
        text.replace("\0", "#").replace("\1", "$") for text in (form.opening, form.middle, form.between, form.closing)
    ]


def test_json_in_tags():
    form = learned(templates.HERMES)
    assert texts(form) == [
        '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
    ]  # fmt: skip
    assert form.marker == "<tool_call>"
    assert form.separators == (": ", ", ")


def test_json_alone_is_a_call_only_where_the_answer_begins_and_once():
    form = learned(templates.LLAMA)
    assert (form.opening, form.middle, form.between, form.closing) == ('{"name": "', '", "parameters": ', None, "}")
    assert form.marker == ""


def test_a_list_whose_calls_have_ids():
    assert texts(learned(templates.MISTRAL)) == [
        '[TOOL_CALLS][{"name": "', '", "arguments": ', ', "id": "$"}, {"name": "', ', "id": "$"}]'
    ]  # fmt: skip


def test_names_and_ids_outside_of_json():
    form = learned(templates.MISTRAL_SMALL)
    assert texts(form) == ["[TOOL_CALLS]", "[CALL_ID]#[ARGS]", "[TOOL_CALLS]", ""]
    assert form.marker == "[TOOL_CALLS]"


def test_arguments_as_text():
    form = learned(templates.DEEPSEEK)
    assert texts(form) == ["<calls><call>", "<args>", "</call><call>", "</call></calls>"]


def test_an_empty_content_where_the_template_wants_a_text():
    form = learned(templates.HERMES.replace("m.content if m.content", "m.content"))
    assert form.start.startswith("<tool_call>")


@pytest.mark.parametrize(
    ("template", "way"),
    [
        (templates.HERMES, (False, None)),
        (templates.HERMES.replace("m.content if m.content", "m.content"), (False, "")),
        (templates.DEEPSEEK, (True, None)),
        (templates.TAGS, (False, None)),  # its form cannot be followed
        (templates.PLAIN, (False, "")),  # it leaves calls out, and would write None
        # Spelled as Python does where it is no text.
        (templates.HERMES.replace("c.function.arguments | tojson", "'' ~ c.function.arguments"), (True, None)),
        # An answer that is not the last one: its thoughts are cut off (QwQ).
        (templates.HERMES.replace("{{- '\\n' + m.content if m.content }}", "{{ m.content.strip() if not loop.last }}"),
         (False, "")),
        ("{{ raise_exception('never') }}", (False, "")),
    ],
)  # fmt: skip
def test_how_earlier_calls_are_taken(template, way):
    assert taken(templates.chat(template)) == way


def test_thoughts_that_a_template_leaves_empty_are_no_part_of_a_call():
    # Command R7B: its answers in words have none.
    thinking = templates.HERMES.replace(
        "{{ '\\n<tool_call>", "{{ '<|START_THINKING|><|END_THINKING|>' if loop.first }}{{ '\\n<tool_call>"
    )
    form, without = learned(thinking), learned(templates.HERMES)
    assert (form.start, form.between, form.marker) == (without.start, without.between, "<tool_call>")


def test_what_all_answers_have_does_not_tell_calls_from_text():
    # Kimi-K3: each part of an answer ends with <|close|>.
    closing = templates.HERMES.replace("<tool_call>\\n{", "<|close|>text<tool_call>\\n{").replace(
        "{{ m.content }}<|im_end|>", "{{ m.content }}<|close|>text<|im_end|>"
    )
    with pytest.raises(TemplateError, match="none that can be followed"):
        learned(closing)


def test_white_space_of_the_arguments():
    compact = templates.HERMES.replace("arguments | tojson", "arguments | tojson(separators=(',', ':'))")
    assert learned(compact).separators == (":", ",")


def test_calls_with_numbers_come_alone():
    form = learned(templates.NUMBERED)
    assert (form.middle, form.between) == (":0<args>", None)


def test_thoughts_are_no_part_of_a_call():
    assert learned(templates.THINKING) == learned(templates.HERMES)


def test_a_template_that_repeats_the_names_costs_no_more_than_it_is_long():
    """The text is searched as often, however often it has the names: each search goes over it once."""

    def searches(n):
        count = 0

        def called(frame, event, function):
            nonlocal count
            count += event == "c_call" and frame.f_code is forms._understood.__code__

        repeated = f"{{{{ tools | tojson }}}}{{% for i in range({n}) %}}{{{{ messages | tojson }}}}{{% endfor %}}"
        sys.setprofile(called)
        try:
            with pytest.raises(TemplateError):
                learned(repeated)
        finally:
            sys.setprofile(None)
        return count

    assert searches(1000) == searches(250) > 0


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (templates.PLAIN, "no section for tools"),
        (templates.TAGS, "none that can be followed"),
        ("{{ tools }}" + templates.PLAIN, "none that can be followed"),
        (templates.HERMES.replace("<tool_call>\\n{", "call: {"), "none that can be followed"),
        (templates.HERMES.replace("<tool_call>\\n{", "<|im_end|>\\n{"), "none that can be followed"),
        ("{{ raise_exception('never') }}", "never"),
    ],
)
def test_what_cannot_be_followed(template, problem):
    with pytest.raises(TemplateError, match=problem):
        learned(template)
