"""ToolCallFormat: formats of known models are inferred from their templates; unsupported formats raise an error."""

import re
import sys

import pytest

from realizar.calls import probe
from realizar.calls.model_format import ModelFormat
from realizar.calls.probe import learned_format, message_style
from tests.calls import templates

ENDS = ["<|im_end|>"]


def format_of(template):
    return learned_format(templates.chat(template), ENDS)


def texts(fmt):
    return [
        text.replace("\0", "#").replace("\1", "$").replace("\2", "N")
        for text in (fmt.opening, fmt.middle, fmt.between, fmt.closing)
    ]


def test_json_in_tags():
    fmt = format_of(templates.HERMES)
    assert texts(fmt) == [
        '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
    ]  # fmt: skip
    assert fmt.marker == "<tool_call>"
    assert fmt.arguments.separators == (": ", ", ")


def test_bare_json_is_a_single_call_at_the_start_of_a_completion():
    fmt = format_of(templates.LLAMA)
    assert (fmt.opening, fmt.middle, fmt.between, fmt.closing) == (
        '{"name": "',
        '", "parameters": ',
        None,
        "}",
    )
    assert fmt.marker == ""


def test_list_of_calls_with_ids():
    assert texts(format_of(templates.MISTRAL)) == [
        '[TOOL_CALLS][{"name": "', '", "arguments": ', ', "id": "$"}, {"name": "', ', "id": "$"}]'
    ]  # fmt: skip


def test_names_and_ids_outside_json():
    fmt = format_of(templates.MISTRAL_SMALL)
    assert texts(fmt) == ["[TOOL_CALLS]", "[CALL_ID]#[ARGS]", "[TOOL_CALLS]", ""]
    assert fmt.marker == "[TOOL_CALLS]"


def test_template_that_expects_arguments_as_text():
    fmt = format_of(templates.DEEPSEEK)
    assert texts(fmt) == ["<calls><call>", "<args>", "</call><call>", "</call></calls>"]


def test_template_that_expects_an_empty_string_as_content():
    fmt = format_of(templates.HERMES.replace("m.content if m.content", "m.content"))
    assert fmt.start.startswith("<tool_call>")


@pytest.mark.parametrize(
    ("template", "way"),
    [
        (templates.HERMES, (False, None)),
        (templates.HERMES.replace("m.content if m.content", "m.content"), (False, "")),
        (templates.DEEPSEEK, (True, None)),
        (templates.TAGS, (False, None)),  # unsupported format
        (templates.PLAIN, (False, "")),  # omits calls, and would render None
        # Rendered as a Python dict unless passed as text.
        (templates.HERMES.replace("c.function.arguments | tojson", "'' ~ c.function.arguments"), (True, None)),
        # QwQ strips the reasoning of all answers but the last.
        (templates.HERMES.replace("{{- '\\n' + m.content if m.content }}", "{{ m.content.strip() if not loop.last }}"),
         (False, "")),
        ("{{ raise_exception('never') }}", (False, "")),
    ],
)  # fmt: skip
def test_message_style(template, way):
    assert message_style(templates.chat(template)) == way


def test_empty_reasoning_is_not_part_of_the_format():
    # Command R7B: plain answers have none.
    thinking = templates.HERMES.replace(
        "{{ '\\n<tool_call>", "{{ '<|START_THINKING|><|END_THINKING|>' if loop.first }}{{ '\\n<tool_call>"
    )
    fmt, without = format_of(thinking), format_of(templates.HERMES)
    assert (fmt.start, fmt.between, fmt.marker) == (
        without.start,
        without.between,
        "<tool_call>",
    )


def test_marker_is_long_enough_not_to_occur_in_answers_without_calls():
    # Kimi-K3: each part of an answer ends with <|close|>.
    closing = templates.HERMES.replace("<tool_call>\\n{", "<|close|>text<tool_call>\\n{").replace(
        "{{ m.content }}<|im_end|>", "{{ m.content }}<|close|>text<|im_end|>"
    )
    fmt = format_of(closing)
    assert fmt.marker == fmt.start == '<|close|>text<tool_call>\n{"name": "'


def test_separators_of_the_arguments():
    compact = templates.HERMES.replace("arguments | tojson", "arguments | tojson(separators=(',', ':'))")
    assert format_of(compact).arguments.separators == (":", ",")


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_calls(first):
    fmt = format_of(templates.NUMBERED.replace("loop.index0", f"loop.index{'' if first else '0'}"))
    assert texts(fmt) == ["<call>functions.", ":N<args>", "</call><call>functions.", "</call>"]


def test_reasoning_is_not_part_of_the_format():
    assert format_of(templates.THINKING) == format_of(templates.HERMES)


def test_parsing_is_linear_in_the_length_of_the_rendered_text():
    """The number of searches, each linear, does not depend on how often the names occur."""

    def searches(n):
        count = 0

        def called(frame, event, function):
            nonlocal count
            count += event == "c_call" and frame.f_code is probe._parse_format.__code__

        repeated = f"{{{{ tools | tojson }}}}{{% for i in range({n}) %}}{{{{ messages | tojson }}}}{{% endfor %}}"
        sys.setprofile(called)
        try:
            assert format_of(repeated) is None
        finally:
            sys.setprofile(None)
        return count

    assert searches(200) == searches(50) > 0


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (templates.PLAIN, "no section for tools"),
        (templates.TAGS, "not supported"),
        ("{{ tools }}" + templates.PLAIN, "not supported"),
        (templates.HERMES.replace("<tool_call>\\n{", "call: {"), "not supported"),
        (templates.HERMES.replace("<tool_call>\\n{", "<|im_end|>\\n{"), "not supported"),
        ("{{ raise_exception('never') }}", "never"),
    ],
)
def test_unsupported_templates(template, problem):
    found = ModelFormat.of(templates.chat(template), ENDS)
    assert found.calls is None
    assert re.search(problem, found.problem)
