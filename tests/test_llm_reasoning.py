"""Reasoning in completions, streams and events; constraints, tools and stop strings hold for the answer alone."""

import asyncio
import json
from dataclasses import replace

import pytest

from realizar import LLM, AsyncLLM, SamplingParams
from realizar.engine.output import FinishEvent, ReasoningEvent, TextEvent, TokensEvent, ToolCallEvent
from realizar.tokenizer.stream import StreamDecoder
from tests.calls import templates
from tests.engine.speculation.oracle import FlatCost
from tests.limits.models import QWEN2, rewritten
from tests.scripts import GREEDY, script, scripted
from tests.test_llm_tools import QUESTION, TOOLS

THINKS = """{% if think is defined and think %}<think>
{% elif think is defined %}<think>

</think>

{% endif %}"""
TEMPLATE = templates.HERMES + THINKS + "{% if false %}</think>{% endif %}"
THOUGHT = "<think>\nLet me see.\n</think>\n\nYes."
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return rewritten(QWEN2, tmp_path_factory.mktemp("thinks") / "m.gguf", {"tokenizer.chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def llm(path):
    with LLM(path, n_threads=1) as llm:
        yield llm


def prompt(llm, params=GREEDY, think=None, **options):
    variables = None if think is None else {"think": think}
    return llm.chat_prompt(QUESTION, params, chat_template_kwargs=variables, **options)


def answer(llm, text, params=GREEDY, think=None, ends=True, **options):
    """Return the completion of a scripted answer."""
    *_, last = llm.events(scripted(llm, prompt(llm, params, think, **options), text, ends))
    assert isinstance(last, FinishEvent), last
    return last.completion


@pytest.mark.parametrize(
    ("think", "text", "reasoning", "shown"),
    [
        (None, THOUGHT, "Let me see.", "Yes."),
        (None, "Yes, <think>.</think>", "", "Yes, <think>.</think>"),
        (None, "<think>\n\n</think>\n\nYes.", "", "Yes."),
        (None, "<think>Let me", "Let me", ""),
        (True, "Let me see.\n</think>\n\nYes.", "Let me see.", "Yes."),
        (True, THOUGHT, "Let me see.", "Yes."),
        (True, "Let me see.", "Let me see.", ""),
        (False, "Yes. </think> <think>", "", "Yes. </think> <think>"),
    ],
)
def test_reasoning_is_no_text(llm, think, text, reasoning, shown):
    completion = answer(llm, text, think=think)
    assert (completion.reasoning, completion.text, completion.finish_reason) == (reasoning, shown, "eos")
    answered = llm.detokenize(completion.token_ids[completion.n_reasoning :])
    assert answered == shown  # so that logprobs are those of the text
    message = {"role": "assistant", "content": shown}
    assert completion.message == ({**message, "reasoning_content": reasoning} if reasoning else message)


def test_chat_has_it_and_generate_does_not(llm):
    made = prompt(llm)
    force = script(llm, len(made.ids), THOUGHT)
    params = replace(GREEDY, samplers=(force, "temperature"))
    assert llm.chat(QUESTION, params).reasoning == "Let me see."
    plain = llm.generate(made.ids, params)[0]
    assert (plain.reasoning, plain.text, plain.n_reasoning) == ("", THOUGHT, 0)


def test_a_thought_that_is_cut_is_reasoning(llm):
    completion = answer(llm, "<think>Let me see.", replace(GREEDY, max_tokens=10))
    assert completion.finish_reason == "length"
    assert (completion.text, completion.n_reasoning) == ("", 10)
    assert "Let me see.".startswith(completion.reasoning)


def read(events):
    """Return joined texts by type, and the places in the tokens at which they came."""
    texts, n_tokens, counts = {ReasoningEvent: "", TextEvent: ""}, 0, []
    for event in events:
        if isinstance(event, TokensEvent):
            n_tokens += len(event.token_ids)
        elif isinstance(event, ReasoningEvent):
            assert event.n_tokens <= n_tokens
            counts.append(event.n_tokens)
        if type(event) in texts:
            texts[type(event)] += event.text
    return texts[ReasoningEvent], texts[TextEvent], counts


@pytest.mark.parametrize("text", [THOUGHT, "<think></think>", "<think>Let me see", "Yes."])
def test_streams_have_typed_events(llm, path, text):
    made = scripted(llm, prompt(llm), text)
    events = list(llm.events(made))
    completion = events[-1].completion
    reasoning, shown, counts = read(events)
    assert (reasoning, shown) == (completion.reasoning, completion.text)
    assert counts == sorted(counts)
    assert (counts or [0])[-1] == completion.n_reasoning
    stream = llm.stream(made)
    assert "".join(stream) == completion.text
    assert stream.completion.reasoning == completion.reasoning

    assert read(llm.stream(made).events())[:2] == (reasoning, shown)

    async def events_of():
        async with AsyncLLM(path, n_threads=1) as other:
            events = [event async for event in other.events(made)]
            return events, [event async for event in other.stream(made).events()]

    for found in asyncio.run(events_of()):
        assert read(found)[:2] == (reasoning, shown)


def test_stop_strings_end_the_answer_and_not_the_thought(llm):
    completion = answer(llm, "<think>One, two.</think>Three, four.", replace(GREEDY, stop=[","]))
    assert (completion.reasoning, completion.text, completion.stop_reason) == ("One, two.", "Three", ",")


def test_several_completions_and_logprobs(llm):
    params = SamplingParams(seed=1, max_tokens=40, n=2, logprobs=0)
    several = answer(llm, "<think>Let me see.</think>", params, ends=False)
    assert [each.reasoning for each in several.outputs] == ["Let me see."] * 2
    assert several.outputs[0].text != several.outputs[1].text
    for each in several.outputs:
        assert len(each.logprobs) == len(each.token_ids)
        assert llm.detokenize(each.token_ids[: each.n_reasoning]).rstrip() == "<think>Let me see.</think>"


def test_echo_shows_the_prompt_with_its_markers(llm):
    completion = answer(llm, "See.</think>Yes", replace(GREEDY, echo=True), think=True)
    assert completion.text.endswith("<think>\nYes")
    assert completion.reasoning == "See."


def test_a_repeated_prompt_from_the_cache_has_the_same_reasoning(llm):
    first, second = (answer(llm, THOUGHT) for _ in range(2))
    assert second.timings.n_cached > 0
    assert (first.reasoning, first.text, first.n_reasoning) == (second.reasoning, second.text, second.n_reasoning)


def test_beams(llm):
    params = SamplingParams(max_tokens=30, n_beams=2, n=2)
    made = prompt(llm, params)
    force = script(llm, len(made.ids), "<think>A.B</think>", ends=False)
    for stop in ([], ["."]):
        chosen = replace(params, samplers=(force,), stop=stop)
        completion = llm.chat(QUESTION, chosen)
        assert [each.reasoning for each in completion.outputs] == ["A.B", "A.B"]
        assert all("</think>" not in each.text and "A.B" not in each.text for each in completion.outputs)


def test_beams_decode_each_token_once_for_stop_strings(llm, monkeypatch):
    pushed = []
    push = StreamDecoder.push
    monkeypatch.setattr(StreamDecoder, "push", lambda self, token: pushed.append(token) or push(self, token))
    counts = []
    for n in (20, 40):
        params = SamplingParams(max_tokens=n, n_beams=2, n=2, ignore_eos=True, stop=["\0"])
        force = script(llm, len(prompt(llm, params).ids), "<think>A", ends=False)
        pushed.clear()
        completion = llm.chat(QUESTION, replace(params, samplers=(force,)))
        assert [len(each.token_ids) for each in completion.outputs] == [n, n]
        counts.append(len(pushed))
    assert counts[1] < 2.5 * counts[0]


# ---- constraints hold for the answer


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("think", "thought"), [(None, "<think>\nSo {.\n</think>\n"), (True, "So {.</think>"), (None, ""), (False, "")]
)
def test_schemas_begin_after_the_thought(llm, think, thought, seed):
    params = SamplingParams(seed=seed, max_tokens=150, json_schema=SCHEMA)
    completion = answer(llm, thought or '{"', params, think, ends=False)
    assert json.loads(completion.text)["a"] in (1, 2)
    assert completion.reasoning == ("So {." if thought else "")
    assert completion.finish_reason in ("grammar", "eos")


@pytest.mark.parametrize(
    "constraint",
    [
        {"regex": "(?s)<.*>"}, {"choice": ["<think", "<a"]}, {"grammar": 'root ::= "<" [a-z]* ">"'},
        {"grammar": '%llguidance {}\nstart: "<" /[a-z]{0,5}/ ">"'}, {"grammar": 'root ::= "<" <[1]>? ">"'},
    ],
    ids=str,
)  # fmt: skip
def test_answers_may_begin_like_a_marker(llm, constraint):
    params = SamplingParams(seed=3, max_tokens=60, **constraint)
    for think, thought in ((None, "<think>a</think>"), (True, "a</think>"), (False, ""), (None, "<")):
        completion = answer(llm, thought, params, think, ends=False)
        if thought == "<" and completion.n_reasoning:
            continue  # it went on to the marker
        assert completion.reasoning == ("a" if "a" in thought else "")
        assert completion.text.startswith("<") or completion.finish_reason == "length"


def test_without_a_thought_the_constraint_holds_at_once(llm):
    params = SamplingParams(max_tokens=20, choice=["yes", "no"])
    for seed in range(8):
        completion = llm.chat(QUESTION, replace(params, seed=seed))
        assert completion.text in ("yes", "no") or completion.reasoning or completion.finish_reason == "length"
        assert llm.chat(QUESTION, replace(params, seed=seed), chat_template_kwargs={"think": False}).text in (
            "yes",
            "no",
        )


def test_an_answer_cannot_end_within_a_constrained_thought(llm):
    params = replace(GREEDY, max_tokens=12, choice=["yes", "no"], logit_bias={min(llm.tokenizer.eog_ids): 1e5})
    completion = llm.chat(QUESTION, params, chat_template_kwargs={"think": True})
    assert (completion.finish_reason, completion.text) == ("length", "")


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_calls_come_after_the_thought(llm, choice):
    """A thought that mentions a call is no call."""
    call = '\n<tool_call>\n{"name": "weather", "arguments": '
    for think, opening in ((None, "<think>"), (True, "")):
        text = f'{opening}I could <tool_call>\n{{"name": "time_of"}}</tool_call>.\n</think>\n{call}'
        completion = answer(
            llm, text, SamplingParams(seed=1, max_tokens=300), think, False, tools=TOOLS, tool_choice=choice
        )
        assert completion.reasoning == 'I could <tool_call>\n{"name": "time_of"}</tool_call>.'
        assert completion.tool_calls[0].name == "weather"
        assert completion.tool_calls[0].arguments["city"] in ("Paris", "Rome", "Oslo")
        assert completion.text == ""


def test_deltas_of_calls_come_after_the_thought(llm):
    text = '<think>So.</think>\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    kinds = [type(event) for event in llm.events(scripted(llm, prompt(llm, tools=TOOLS), text))]
    order = [kind for kind in kinds if kind in (ReasoningEvent, TextEvent, ToolCallEvent)]
    assert order == sorted(order, key=[ReasoningEvent, TextEvent, ToolCallEvent].index)
    assert {ReasoningEvent, ToolCallEvent} <= set(order)


def test_drafts_do_not_change_reasoning(path):
    text = "<think>one two one two one two</think>one two one two"
    found = []
    for speculate in (None, "ngram"):
        with LLM(path, n_threads=1, speculate=speculate) as llm:
            if llm.engine.speculator is not None:
                llm.engine.speculator.cost = FlatCost(64)
            events = list(llm.events(scripted(llm, prompt(llm), text)))
            completion = events[-1].completion
            found.append((*read(events)[:2], completion.n_reasoning, completion.token_ids))
            assert (completion.timings.n_drafted > 0) == (speculate is not None)
    assert found[0] == found[1]
