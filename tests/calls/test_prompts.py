"""ChatPrompts: template variables, and tools with templates whose tool-call format is unsupported."""

import pytest

from realizar import SamplingParams
from realizar.calls import ChatOptions, ChatPrompts, prompts
from realizar.errors import ParameterError, TemplateError
from tests.calls import templates
from tests.clocks import Clock

QUESTION = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
THINKS = templates.PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
PARAMS = SamplingParams()


def prompt(template, messages=QUESTION, tools=None, choice="auto", **variables):
    tokenizer = templates.tokenizer(template)
    made = ChatPrompts(tokenizer).make(messages, PARAMS, ChatOptions(tools, choice, variables or None))
    return tokenizer.decode(made.ids, skip_special=False), made.params, made.tools


def test_variables_reach_the_template():
    assert prompt(THINKS)[0].endswith("assistant\n")
    assert prompt(THINKS, enable_thinking=True)[0].endswith("assistant\n")
    assert prompt(THINKS, enable_thinking=False)[0].endswith("assistant\n<think></think>")
    documents = "{{ documents | tojson }}{{ reasoning_effort }}"
    given = {"documents": [{"title": "a", "text": "b"}], "reasoning_effort": "low"}
    assert prompt(documents, **given)[0] == '[{"title": "a", "text": "b"}]low'


@pytest.mark.parametrize(("tick", "left"), [(3.0, 2.0), (7.0, 1e-6)])
def test_max_time_counts_from_the_call(monkeypatch, tick, left):
    """Each read of the clock is `tick` seconds after the one before."""
    monkeypatch.setattr(prompts, "time", Clock(tick))
    make = ChatPrompts(templates.tokenizer(THINKS)).make
    assert make(QUESTION, SamplingParams(max_time=5.0)).params.max_time == left
    assert make(QUESTION, PARAMS).params is PARAMS


def test_unused_variable_warns():
    with pytest.warns(UserWarning, match="does not use 'enable_thinkin'$"):
        prompt(THINKS, enable_thinkin=False)


def test_the_warning_is_short():
    with pytest.warns(UserWarning, match="does not use 'aaa") as caught:
        prompt(THINKS, **{"a" * 100_000: 1})
    assert len(str(caught[0].message)) < 200


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ([("enable_thinking", False)], "must be a mapping"),
        ({"messages": []}, "'messages' cannot be set"),
        ({"tools": []}, "'tools' cannot be set"),
        ({"add_generation_prompt": False}, "cannot be set"),
        ({1: 2}, "1 cannot be set"),
        ({"a b": 2}, "'a b' cannot be set"),
        ({"enable_thinking": object()}, "enable_thinking=<object .*must be JSON-serializable"),
        ({"f": print}, "f=<built-in function print>: must be"),
        ({"x": {1, 2}}, "must be JSON-serializable"),
    ],
)
def test_invalid_variables(variables, problem):
    with pytest.raises(ParameterError, match=f"^chat_template_kwargs.*{problem}"):
        ChatPrompts(templates.tokenizer(THINKS)).make(QUESTION, PARAMS, ChatOptions(variables=variables))


@pytest.mark.parametrize("template", ["TAGS", "PLAIN", "HERMES"])
def test_choice_none_works_with_every_template(template):
    source = getattr(templates, template)
    text, _, use = prompt(source, tools=TOOLS, choice="none")
    assert ('"name": "f"' in text) == (template != "PLAIN")
    assert (use is None) == (template != "HERMES")


def test_unsupported_format_raises_every_time_and_bad_tools_raise_always():
    prompts = ChatPrompts(templates.tokenizer(templates.TAGS))
    for choice in ("auto", "required", "auto", {"type": "function", "function": {"name": "f"}}):
        with pytest.raises(TemplateError, match="not supported"):
            prompts.make(QUESTION, PARAMS, ChatOptions(TOOLS, choice))
    with pytest.raises(ParameterError, match="must be a non-empty list of tools"):
        prompts.make(QUESTION, PARAMS, ChatOptions([], "none"))


def test_earlier_calls_are_rendered_in_unsupported_formats_too():
    # gpt-oss and Granite 3.3 fail on content None; Qwen3-Coder expects arguments as objects.
    fails = templates.TAGS.replace("{{ m.content or '' }}", "{{ m.content + '' }}")
    call = {"id": "probe0id1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Rome"}'}}
    talk = [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "18"}]
    for template in (templates.TAGS, fails):
        text, _, _ = prompt(template, talk)
        assert "<function=f><city>Rome</city>" in text
        assert "None" not in text


def test_content_parts_and_tools_work_together():
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert prompt(templates.HERMES, parts, TOOLS)[0] == prompt(templates.HERMES, QUESTION, TOOLS)[0]
