"""The declared formats: calls that a template writes are parsed back, and the grammar allows them and nothing else."""

import json
import re

import numpy as np
import pytest
from llguidance import LLMatcher

from realizar import SamplingParams
from realizar.arch import registry
from realizar.calls import ChatFormat, ChatOptions, ChatPrompts, TagNotation, formats
from realizar.calls.reasoning import ReasoningSplitter
from realizar.errors import GrammarError
from realizar.sampling.grammar.vocabulary import vocabulary
from tests.calls import format_templates
from tests.calls.format_templates import ONE_CALL, TEMPLATES

QUESTION = {"role": "user", "content": "How warm is it?"}
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean"},
        "hours": {"type": "array", "items": {"type": "integer"}},
        "place": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "description": "D.", "parameters": CITY}} for name in
         ("weather", "weather_now")]  # fmt: skip
CALLS = [
    ("weather", {"city": "Rome\n<b>&</b>", "days": 3, "exact": True, "hours": [1, 2], "place": {"x": 0.5}}),
    ("weather_now", {"city": "Oslo"}),
    ("weather", {"city": "", "exact": False}),
]
NAMED = {"type": "function", "function": {"name": "weather"}}
TOKENIZERS = {name: format_templates.tokenizer(template) for name, template in TEMPLATES.items()}
VOCABULARIES = {name: vocabulary(tokenizer) for name, tokenizer in TOKENIZERS.items()}
PROMPTS = {name: ChatPrompts(tokenizer) for name, tokenizer in TOKENIZERS.items()}


def calls_of(name):
    plain = "pythonic" in name  # which writes strings without escapes
    made = [(n, {**a, "city": a["city"].replace("\n", " ")}) if plain else (n, a) for n, a in CALLS]
    return made[:1] if name in ONE_CALL else made


def message(calls):
    made = [{"id": f"abcdefgh{i}", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}
            for i, (n, a) in enumerate(calls)]  # fmt: skip
    return {"role": "assistant", "content": None, "tool_calls": made}


def written(name, calls):
    """What the template writes for calls, from their beginning to the end of the message."""
    text = PROMPTS[name].text([QUESTION, message(calls), QUESTION], ChatOptions(TOOLS))
    format_ = PROMPTS[name]._format.calls
    begin = text.index(format_.opening.partition("\2")[0] or "weather", text.index("How warm"))
    end = min(at for mark in ("<|im_end|>", "<|call|>") if (at := text.find(mark, begin)) >= 0)
    return text[begin:end]


def prompt(name, choice="auto", tools=TOOLS):
    return PROMPTS[name].make([QUESTION], SamplingParams(), ChatOptions(tools, choice))


def parsed(use, text, size):
    """The text, the calls, and the joined deltas of a completion that comes in pieces."""
    reader = use.reader(np.zeros(1, np.int32))
    shown, deltas = "", []
    for at in range(0, len(text), size):
        shown += reader.push(text[at : at + size])
        deltas += reader.take_deltas()
    shown += reader.flush()
    joined = {}
    for delta in [*deltas, *reader.take_deltas()]:
        assert (delta.id is not None) == (delta.name is not None) == (delta.number not in joined)
        joined[delta.number] = joined.get(delta.number, "") + delta.arguments
    return shown, [(call.name, call.arguments) for call in reader.calls()], [json.loads(t) for t in joined.values()]


def accepts(name, choice, text, tools=TOOLS):
    """Whether the grammar allows a completion."""
    grammar = prompt(name, choice, tools).params.grammar
    ids = TOKENIZERS[name].encode(text, add_special=False, parse_special=True)
    matcher = LLMatcher(VOCABULARIES[name], grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher.consume_tokens(ids) and matcher.is_accepting()


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_format_is_recognized(name):
    assert PROMPTS[name]._format.declared.name == name.split()[0]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("name", TEMPLATES)
def test_written_calls_are_parsed_back(name, size):
    calls = calls_of(name)
    shown, found, deltas = parsed(prompt(name).tools, written(name, calls), size)
    assert (shown.strip(), found, deltas) == ("", calls, [arguments for _, arguments in calls])


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_grammar_allows_written_calls(name):
    calls = calls_of(name)
    text, one = written(name, calls), written(name, calls[:1])
    closing = PROMPTS[name]._format.calls.closing
    stripped, one = (t.rstrip() if closing == closing.rstrip() else t for t in (text, one))
    assert [accepts(name, choice, one) for choice in ("auto", "required", NAMED)] == [True] * 3
    assert accepts(name, "required", stripped)
    assert not accepts(name, "none", one)
    assert not accepts(name, NAMED, written(name, [("weather_now", {"city": "Oslo"})]).rstrip())


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    "call",
    [("storm", {"city": "Oslo"}), ("weather", {}), ("weather", {"city": "Oslo", "days": 15}),
     ("weather", {"city": "Oslo", "days": "many"}), ("weather", {"city": "Oslo", "wind": "strong"}),
     ("weather", {"city": "Oslo", "hours": [1, "two"]}), ("weather", {"city": "Oslo", "place": {}})],
)  # fmt: skip
def test_the_grammar_forbids_other_names_and_arguments(name, call):
    tool = {"type": "function", "function": {"name": "storm", "parameters": {"type": "object", "properties": {}}}}
    text = PROMPTS[name].text([QUESTION, message([call]), QUESTION], ChatOptions([*TOOLS, tool]))
    opening = PROMPTS[name]._format.calls.opening.partition("\2")[0]
    begin = text.rindex(opening or call[0], 0, text.rindex(call[0]) + len(call[0]))
    end = min(at for mark in ("<|im_end|>", "<|call|>") if (at := text.find(mark, begin)) >= 0)
    assert not accepts(name, "required", text[begin:end].rstrip())


@pytest.mark.parametrize("name", TEMPLATES)
def test_schemas_of_a_wrong_form_are_refused_by_name(name):
    for keyword in ("type", "enum", "anyOf", "allOf", "$ref", "properties", "required", "items"):
        parameters = {"type": "object", "properties": {"p": {keyword: 5}}}
        tools = [{"type": "function", "function": {"name": "f", "description": "D.", "parameters": parameters}}]
        with pytest.raises(GrammarError, match=rf"tool f: json_schema: '{re.escape(keyword)}'=5, at #/properties/p/"):
            PROMPTS[name].make([QUESTION], SamplingParams(), ChatOptions(tools))


def test_a_text_that_only_mentions_the_marker_stays_text():
    for name, text in (
        ("qwen3_coder", "Write <tool_call> before it."),
        ("minimax_m2", "<minimax:tool_call> is a tag."),
    ):
        assert accepts(name, "auto", text)
        assert parsed(prompt(name).tools, text, 3) == (text, [], [])


@pytest.mark.parametrize(
    ("value", "schema"),
    [("a<b", {"type": "string"}), (None, {"type": ["string", "null"]}), ("7", {"type": "string"}), (7, {}), ("x", {}),
     ("b", {"enum": ["a", "b"]}), ({"k": [1]}, {"type": "object"}), (2, {"$ref": "#/$defs/n"}),
     ("2026-11-29", {"type": "string", "format": "date"}), ("abc", {"type": "string", "pattern": "^[a-c]+$"}),
     ("ab", {"type": "string", "minLength": 2, "maxLength": 3}),
     (1, {"anyOf": [{"type": "integer"}, {"type": "null"}]})],
)  # fmt: skip
@pytest.mark.parametrize("name", ["qwen3_coder", "glm in lines", "deepseek_dsml", "kimi_k3", "minicpm5"])
def test_values_have_the_types_of_the_schema(name, value, schema):
    parameters = {"type": "object", "properties": {"v": schema}, "$defs": {"n": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    text = written(name, [("weather", {"v": value})]).rstrip()
    assert parsed(prompt(name, tools=tools).tools, text, 4)[1] == [("weather", {"v": value})]
    assert accepts(name, "required", text, tools)


def test_a_string_follows_its_schema():
    def tools(schema):
        parameters = {"type": "object", "properties": {"v": schema}}
        return [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]

    for schema in ({"type": "string", "format": "date"}, {"type": "string", "maxLength": 3}, {"enum": ["a"]}):
        for name, value in (("qwen3_coder", "long text"), ("minicpm5", "long text"), ("minicpm5", "<long text>")):
            text = written(name, [("weather", {"v": value})]).rstrip()
            assert not accepts(name, "required", text, tools(schema))
    with pytest.raises(GrammarError, match="tool weather: json_schema: 'format' cannot be enforced, at #/properties/v"):
        prompt("glm", tools=tools({"type": "string", "format": "color"}))


def test_harmony_separates_channels():
    use = prompt("harmony").tools
    call = "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>" + json.dumps({"city": "Oslo"})
    said = "<|channel|>commentary<|message|>I look it up.<|end|><|start|>assistant"
    for text, shown, calls in (
        ("<|channel|>final<|message|>It is warm.", "It is warm.", []),
        (call, "", [("weather", {"city": "Oslo"})]),
        (said + call, "I look it up.", [("weather", {"city": "Oslo"})]),
    ):
        assert parsed(use, text, 5)[:2] == (shown, calls)
        assert accepts("harmony", "auto", text)
    assert not accepts("harmony", "auto", "It is warm.")
    assert not accepts("harmony", "auto", call.replace("weather", "storm"))
    plain = PROMPTS["harmony"].make([QUESTION], SamplingParams())
    assert parsed(plain.tools, "<|channel|>final<|message|>It is warm.", 5)[0] == "It is warm."


def test_harmony_reasons_in_its_analysis_channel():
    made = prompt("harmony")
    reader = ReasoningSplitter(made.reasoning)
    text = "<|channel|>analysis<|message|>Warm?<|end|><|start|>assistant<|channel|>final<|message|>It is warm."
    reasoning, answer = zip(reader.push(text[:40]), reader.push(text[40:]), reader.flush(), strict=True)
    assert "".join(reasoning) == "Warm?"
    assert parsed(made.tools, "".join(answer), 5)[0] == "It is warm."
    assert accepts("harmony", "auto", "".join(answer))


def test_glimmer_names_the_recipients_of_messages():
    use = prompt("muse_glimmer").tools
    call = written("muse_glimmer", [("weather", {"city": "Oslo"})])
    said, role = " to=user<|message|>I look it up.", "<|eom|><|start|>assistant"
    for text, shown, calls in (
        (said, "I look it up.", []),
        (call, "", [("weather", {"city": "Oslo"})]),
        (said + role + call, "I look it up.", [("weather", {"city": "Oslo"})]),
    ):
        assert parsed(use, text, 5)[:2] == (shown, calls)
        assert accepts("muse_glimmer", "auto", text)
    assert not accepts("muse_glimmer", "auto", "It is warm.")
    plain = PROMPTS["muse_glimmer"].make([QUESTION], SamplingParams())
    assert parsed(plain.tools, said, 5)[0] == "I look it up."
    reader = ReasoningSplitter(plain.reasoning)
    reasoning, answer = zip(reader.push(" to=self<|message|>Warm?" + role + said), reader.flush(), strict=True)
    assert "".join(reasoning) == "Warm?"
    assert parsed(plain.tools, "".join(answer), 5)[0] == "I look it up."


def test_functionary_writes_text_to_all():
    use = prompt("functionary").tools
    assert parsed(use, "all\nWarm >>> cold.", 3)[:2] == ("Warm >>> cold.", [])
    assert parsed(use, 'all\nSee:>>>weather\n{"city": "Oslo"}', 3)[:2] == ("See:", [("weather", {"city": "Oslo"})])
    assert accepts("functionary", "auto", "all\nWarm >>> cold.")
    assert accepts("functionary", "auto", 'all\nSee:>>>weather\n{"city": "Oslo"}')


def test_tools_reach_templates_without_a_section_for_them():
    for name, text in (("smollm3", '"weather_now"'), ("deepseek_v3_1", "### weather_now\nDescription: D."),
                       ("firefunction", '"weather_now"')):  # fmt: skip
        assert text in PROMPTS[name].text([QUESTION], ChatOptions(TOOLS))


def test_a_plugin_can_bring_a_format(monkeypatch):
    own = ChatFormat("brief", ("<do:",), TagNotation("<with {key}>{value}</with>"))
    template = format_templates._xml("", "<do:", ">", "<with {{ k }}>{{ v }}</with>", "</do>")
    brought = registry.Registry(chat_formats={"brief": own})
    monkeypatch.setattr(formats, "default", lambda: brought)
    found = ChatPrompts(format_templates.tokenizer(template))._format
    assert found.declared is own
    assert found.calls.opening == "<do:"
