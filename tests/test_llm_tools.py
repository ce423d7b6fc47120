"""chat(tools=...): tool calls of tiny random models; which tool is called is random, format and arguments are valid."""

import pytest

from realizar import LLM, SamplingParams
from realizar.errors import GrammarError, ParameterError, TemplateError
from tests.calls import format_templates, templates
from tests.engine.speculation.oracle import FlatCost
from tests.limits.models import LLAMA, QWEN2, rewritten
from tests.meta.house import ROOT
from tests.meta.test_documents import python_blocks
from tests.tokenizer.vocabularies import real

CITY = {"enum": ["Paris", "Rome", "Oslo"]}
SCHEMA = {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Of today.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "time_of", "parameters": SCHEMA}},
]
NAMED = {"type": "function", "function": {"name": "time_of"}}
QUESTION = [{"role": "user", "content": "How is the weather in Rome?"}]
GREEDY = SamplingParams(temperature=0.0, max_tokens=200)
MODELS = [(LLAMA, "LLAMA"), (LLAMA, "HERMES"), (QWEN2, "HERMES"), (QWEN2, "MISTRAL")]


@pytest.fixture(scope="module", params=MODELS, ids=lambda case: f"{case[0].parent.name}-{case[1]}")
def llm(request, tmp_path_factory):
    source, template = request.param
    path = tmp_path_factory.mktemp("tools") / "model.gguf"
    with LLM(rewritten(source, path, {"tokenizer.chat_template": getattr(templates, template)}), n_threads=1) as llm:
        yield llm


@pytest.mark.parametrize("name", ["qwen3_coder", "glm", "gemma4", "pythonic", "minimax_m2", "functionary", "lfm2"])
def test_declared_formats_call_with_valid_arguments(tmp_path, name):
    path = rewritten(LLAMA, tmp_path / "model.gguf", {"tokenizer.chat_template": format_templates.TEMPLATES[name]})
    with LLM(path, n_threads=1) as llm:
        stream = llm.chat(QUESTION, SamplingParams(seed=1, max_tokens=400), tools=TOOLS, tool_choice=NAMED, stream=True)
        assert "".join(stream) == ""
        (call,) = stream.completion.tool_calls
    assert (call.name, call.arguments["city"] in CITY["enum"]) == ("time_of", True)


@pytest.mark.parametrize("seed", range(4))
def test_required_calls_have_valid_arguments(llm, seed):
    answer = llm.chat(QUESTION, SamplingParams(seed=seed, max_tokens=400), tools=TOOLS, tool_choice="required")
    assert answer.text == ""
    assert answer.tool_calls
    for call in answer.tool_calls:
        assert call.name in ("weather", "time_of")
        assert call.arguments["city"] in CITY["enum"]
    assert len({call.id for call in answer.tool_calls}) == len(answer.tool_calls)
    assert answer.finish_reason in ("tool_calls", "length", "context")


def test_named_tool_is_called_once(llm):
    answer = llm.chat(QUESTION, GREEDY, tools=TOOLS, tool_choice=NAMED)
    assert [call.name for call in answer.tool_calls] == ["time_of"]
    assert answer.finish_reason == "tool_calls"


def test_choice_none_forbids_calls_and_auto_allows_them(llm):
    for choice in ("none", "auto"):
        answer = llm.chat(QUESTION, SamplingParams(seed=1, max_tokens=40), tools=TOOLS, tool_choice=choice)
        assert bool(answer.tool_calls) <= (choice == "auto")


def test_choice_none_allows_another_constraint(llm):
    params = SamplingParams(max_tokens=60, regex="<tool_call>\\{\\}")
    assert llm.chat(QUESTION, params, tools=TOOLS, tool_choice="none").text == "<tool_call>{}"


def test_streaming_batch_mates_and_parallel_sampling_do_not_change_calls(llm):
    params = SamplingParams(seed=2, max_tokens=100)
    whole = llm.chat(QUESTION, params, tools=TOOLS, tool_choice="required")
    stream = llm.chat(QUESTION, params, tools=TOOLS, tool_choice="required", stream=True)
    other = llm.chat(QUESTION, GREEDY, stream=True)
    assert "".join(stream) == whole.text
    assert stream.completion.tool_calls == whole.tool_calls
    assert stream.completion.token_ids == whole.token_ids
    other.close()
    several = llm.chat(QUESTION, SamplingParams(seed=2, max_tokens=100, n=2), tools=TOOLS, tool_choice="required")
    assert several.outputs[0].tool_calls == whole.tool_calls
    assert all(answer.tool_calls for answer in several.outputs)


def test_speculative_decoding_does_not_change_calls(tmp_path):
    path = rewritten(QWEN2, tmp_path / "model.gguf", {"tokenizer.chat_template": templates.HERMES})
    params = [SamplingParams(seed=seed, max_tokens=120) for seed in range(3)]
    found = []
    for speculate in (None, "ngram"):
        with LLM(path, n_threads=1, speculate=speculate) as llm:
            if llm.engine.speculator is not None:
                llm.engine.speculator.cost = FlatCost(64)
            found.append([llm.chat(QUESTION, p, tools=TOOLS, tool_choice="required") for p in params])
    plain, drafted = ([(a.token_ids, a.tool_calls) for a in answers] for answers in found)
    assert plain == drafted
    assert sum(answer.timings.n_drafted for answer in found[1]) > 0


def test_conversation_continues_after_a_call(llm):
    answer = llm.chat(QUESTION, GREEDY, tools=TOOLS, tool_choice=NAMED)
    (call,) = answer.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": "12:30"}
    turns = [*QUESTION, answer.message, result]
    again = llm.chat(turns, GREEDY, tools=TOOLS, tool_choice="required")
    assert again.timings.n_cached > 0
    assert {c.id for c in again.tool_calls}.isdisjoint({call.id})
    assert llm.chat([*QUESTION, {**answer.message, "tool_calls": [call]}, result], GREEDY).text


def test_truncated_call_is_neither_call_nor_text(llm):
    answer = llm.chat(QUESTION, SamplingParams(temperature=0.0, max_tokens=5), tools=TOOLS, tool_choice="required")
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", [], "length")
    assert len(answer.token_ids) == 5


def test_stop_strings_do_not_apply_to_calls(llm):
    params = SamplingParams(temperature=0.0, max_tokens=200, stop=["{", '"', "name", "\n"])
    assert llm.chat(QUESTION, params, tools=TOOLS, tool_choice=NAMED).tool_calls


def test_errors_are_raised_at_submission_and_name_the_cause(llm):
    with pytest.raises(ParameterError, match="json_schema and tools"):
        llm.chat(QUESTION, SamplingParams(json_schema={}), tools=TOOLS)
    with pytest.raises(ParameterError, match="no tools were given"):
        llm.chat(QUESTION, tool_choice="required")
    with pytest.raises(ParameterError, match="no tool 'f'"):
        llm.chat(QUESTION, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "f"}})
    bad = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"not": {}}}}}}
    with pytest.raises(GrammarError, match="tool f: json_schema: 'not' cannot be enforced, at #/properties/a/not"):
        llm.chat(QUESTION, tools=[bad])
    assert llm.chat(QUESTION, SamplingParams(max_tokens=1, lenient=True), tools=[bad]).token_ids


def test_template_without_tools_is_an_error(tmp_path):
    path = rewritten(LLAMA, tmp_path / "model.gguf", {"tokenizer.chat_template": templates.PLAIN})
    with LLM(path, n_threads=1) as llm, pytest.raises(TemplateError, match="no section for tools"):
        llm.chat(QUESTION, tools=TOOLS)


def test_separate_tool_template(tmp_path):
    keys = {"tokenizer.chat_template": templates.PLAIN, "tokenizer.chat_template.tool_use": templates.HERMES}
    with LLM(rewritten(LLAMA, tmp_path / "model.gguf", keys), n_threads=1) as llm:
        assert llm.chat(QUESTION, GREEDY, tools=TOOLS, tool_choice="required").tool_calls


@pytest.mark.slow
@pytest.mark.real_model
def test_real_model_makes_the_expected_call():
    if not real("qwen2.5-coder-0.5b").is_file():
        pytest.skip(f"the real model is not in the cache ({real('qwen2.5-coder-0.5b')})")
    with LLM(real("qwen2.5-coder-0.5b"), n_ctx=1024) as llm:
        answer = llm.chat(QUESTION, GREEDY, tools=TOOLS, tool_choice="required")
        assert [(call.name, call.arguments) for call in answer.tool_calls] == [("weather", {"city": "Rome"})]
        assert (answer.finish_reason, answer.text) == ("tool_calls", "")
        again = llm.chat(
            [*QUESTION, answer.message, {"role": "tool", "content": "rain"}], GREEDY, tools=TOOLS, tool_choice="none"
        )
        assert again.timings.n_cached >= answer.timings.n_prompt // 16 * 16
        assert again.text


@pytest.mark.slow
@pytest.mark.real_model
def test_example_in_docs_runs(capsys):
    if not real("qwen2.5-coder-0.5b").is_file():
        pytest.skip(f"the real model is not in the cache ({real('qwen2.5-coder-0.5b')})")
    exec(next(iter(python_blocks(ROOT / "docs/tools.md"))), {})
    assert "get_temperature {'city': 'Rome'} 24" in capsys.readouterr().out
