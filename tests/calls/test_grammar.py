"""Grammars of completions with tools, for every tool-call format and every tool_choice."""

import numpy as np
import pytest
from llguidance import LLMatcher

from realizar.calls import ToolUse
from realizar.calls.probe import learned_format
from realizar.errors import GrammarError, ParameterError
from realizar.params import SamplingParams
from realizar.sampling.grammar import ConstraintFactory
from realizar.sampling.grammar.vocabulary import vocabulary
from tests.calls import templates

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "weather_now"}},
]
NAMED = {"type": "function", "function": {"name": "weather"}}
NAMES = ("HERMES", "LLAMA", "MISTRAL", "MISTRAL_SMALL", "DEEPSEEK", "NUMBERED")
TOKENIZERS = {name: templates.tokenizer(getattr(templates, name)) for name in NAMES}
VOCABULARIES = {name: vocabulary(tokenizer) for name, tokenizer in TOKENIZERS.items()}
PARIS = ("weather", '{"city": "Paris"}')
NOW = ("weather_now", "{}")


def use(name, choice="auto", tools=TOOLS):
    fmt = learned_format(TOKENIZERS[name].chat_template, ["<|im_end|>"])
    return fmt, ToolUse(fmt, tools, choice, TOKENIZERS[name])


def written(fmt, *calls):
    between = (fmt.between or "").replace("\0", "aB3456789").replace("\1", "aB3456789").replace("\2", "0")
    texts = between.join(f"{name}{fmt.middle}{arguments}" for name, arguments in calls)
    return (fmt.opening + texts + fmt.closing).replace("\0", "aB3456789").replace("\1", "aB3456789").replace("\2", "0")


def accepts(name, choice, text, tools=TOOLS):
    """Whether the grammar accepts a whole completion."""
    _, tool_use = use(name, choice, tools)
    ids = TOKENIZERS[name].encode(text, add_special=False, parse_special=True)
    matcher = LLMatcher(VOCABULARIES[name], tool_use.constrain(SamplingParams()).grammar, log_level=0)
    return matcher.consume_tokens(ids) and matcher.is_accepting()


@pytest.mark.parametrize("name", NAMES)
def test_auto_is_text_or_calls(name):
    fmt, _ = use(name)
    one = written(fmt, PARIS)
    assert accepts(name, "auto", "It is <b>sunny</b>, [see] {this}.\n")
    assert accepts(name, "auto", one)
    assert accepts(name, "auto", "")
    assert accepts(name, "auto", written(fmt, NOW))
    assert accepts(name, "auto", "Let me see.\n" + one)  # plain text if calls are recognized only at the start
    assert accepts(name, "auto", written(fmt, PARIS, NOW, NOW)) == (fmt.between is not None)
    assert not accepts(name, "auto", one + " and text")
    assert not accepts(name, "auto", one[:-1]) or not fmt.closing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "call",
    [("weather", "{}"), ("weather", '{"city": 1}'), ("weather", '{"city": "Paris", "a": 1}'), ("storm", "{}"),
     ("weather", '{"city":  "Paris"}'), ("weather", '{\n"city": "Paris"}')],
)  # fmt: skip
def test_arguments_must_match_the_schema(name, call):
    fmt, _ = use(name)
    assert not accepts(name, "auto", written(fmt, call))


@pytest.mark.parametrize("name", NAMES)
def test_tool_choices(name):
    fmt, _ = use(name)
    one, other, several = written(fmt, PARIS), written(fmt, NOW), written(fmt, PARIS, PARIS)
    assert [accepts(name, "none", text) for text in ("Text.", one)] == [True, False]
    assert [accepts(name, "required", text) for text in ("Text.", "", one, other)] == [False, False, True, True]
    assert accepts(name, "required", several) == (fmt.between is not None)
    assert [accepts(name, NAMED, text) for text in ("Text.", one, other, several)] == [False, True, False, False]


def test_spelled_out_control_token_does_not_start_a_call():
    """The model was trained to start a call with the control token, not with its name in plain text."""
    constraint = ConstraintFactory(TOKENIZERS["MISTRAL"]).from_params(use("MISTRAL")[1].constrain(SamplingParams()))
    for byte in b"[TOOL_CALLS":
        constraint.advance(byte)
    allowed = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
    assert not allowed[ord("]")]
    assert allowed[ord("!")]


def test_ids_are_optional_in_a_list():
    fmt, _ = use("MISTRAL")
    without = written(fmt, PARIS, NOW).replace(', "id": "aB3456789"', "")
    assert accepts("MISTRAL", "required", without)
    assert not accepts("MISTRAL", "required", written(fmt, PARIS).replace("aB3456789", "short"))


def test_error_of_an_unsupported_schema_names_the_tool():
    tools = [
        TOOLS[0],
        {"type": "function", "function": {"name": "g", "parameters": {"properties": {"a": {"not": {}}}}}},
    ]
    factory = ConstraintFactory(TOKENIZERS["HERMES"])
    _, tool_use = use("HERMES", tools=tools)
    with pytest.raises(GrammarError, match="not") as caught:
        factory.from_params(tool_use.constrain(SamplingParams()))
    explained = str(tool_use.explain(caught.value, SamplingParams(), factory))
    assert explained.startswith("tool g: json_schema: 'not' cannot be enforced, at #/properties/a/not")
    factory.from_params(tool_use.constrain(SamplingParams(lenient=True)))


def test_tools_exclude_other_constraints():
    for choice in ("auto", "required", NAMED):
        with pytest.raises(ParameterError, match="regex and tools: only one constraint can be enforced"):
            use("HERMES", choice)[1].constrain(SamplingParams(regex="a"))
    with pytest.raises(ParameterError, match="n_beams=2 and tools"):
        use("HERMES")[1].constrain(SamplingParams(n_beams=2))
    for params in (SamplingParams(regex="a"), SamplingParams(regex="a", n_beams=2)):
        assert use("HERMES", "none")[1].constrain(params) is params
