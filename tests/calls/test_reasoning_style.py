"""ReasoningStyle and the prompts of messages with reasoning: what templates show, and what they are given."""

import os
from pathlib import Path

import pytest

from realizar import SamplingParams
from realizar.calls import ChatOptions, ChatPrompts
from realizar.calls.reasoning_style import ReasoningStyle, reasoning_of
from realizar.errors import ParameterError, TemplateError
from realizar.tokenizer import ChatTemplate
from tests.calls import templates

QUESTION = {"role": "user", "content": "Why?"}
THOUGHT, ANSWER = "Let me see.", "Because "
HEAD = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
TAIL = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
QWEN3 = HEAD + (
    "{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}"
    + TAIL + "{% endif %}"
)  # fmt: skip
QWEN35 = QWEN3.removesuffix("{% endif %}") + "<think>\n{% endif %}"
R1 = HEAD + "{{ m.content.split('</think>')[-1] | trim }}" + TAIL + "<think>\n{% endif %}"
MAGISTRAL = HEAD + (
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'thinking' %}[THINK]{{ part.thinking }}[/THINK]{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}" + TAIL + "{% endif %}"
)  # fmt: skip
HARMONY = HEAD + "{{ ('(' + m.thinking + ')') if m.thinking }}{{ m.content }}" + TAIL + "{% endif %}"
REFUSES = "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}" + R1
TEMPLATES = {"QWEN3": QWEN3, "QWEN35": QWEN35, "R1": R1, "MAGISTRAL": MAGISTRAL, "HARMONY": HARMONY, "REFUSES": REFUSES}
START = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("name", "markers", "key"),
    [
        ("QWEN3", ("<think>", "</think>"), "reasoning_content"),
        ("QWEN35", ("<think>", "</think>"), "reasoning_content"),
        ("R1", ("<think>", "</think>"), "reasoning_content"),
        ("REFUSES", ("<think>", "</think>"), "reasoning_content"),
        ("MAGISTRAL", ("[THINK]", "[/THINK]"), "parts"),
        ("HARMONY", None, "thinking"),
    ],
)
def test_the_style_is_learned_from_the_template(name, markers, key):
    assert ReasoningStyle.from_template(ChatTemplate(TEMPLATES[name], "", "")) == (markers, key)


def test_new_markers_are_learned_from_what_a_template_renders():
    for opening, closing in (("<seed:think>", "</seed:think>"), ("<|START_REASONING|>", "<|END_REASONING|>")):
        source = QWEN3.replace("<think>", opening).replace("</think>", closing)
        assert ReasoningStyle.from_template(ChatTemplate(source, "", "")).markers == (opening, closing)
    assert ReasoningStyle.from_template(ChatTemplate(templates.HERMES, "", "")).markers is None


@pytest.mark.parametrize(
    "given",
    [
        {"reasoning_content": THOUGHT}, {"reasoning": THOUGHT}, {"thinking": THOUGHT},
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": ANSWER}]},
        {"content": [{"type": "thinking", "thinking": [{"text": THOUGHT}]}, {"type": "text", "text": ANSWER}]},
    ],
)  # fmt: skip
def test_reasoning_of_earlier_messages_is_where_the_template_reads_it(given):
    talk = [QUESTION, {"role": "assistant", "content": ANSWER, **given}, QUESTION]
    assert reasoning_of(talk[1]) == THOUGHT
    shown = {"QWEN3": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}<", "MAGISTRAL": f"[THINK]{THOUGHT}[/THINK]{ANSWER}<",
             "HARMONY": f"({THOUGHT}){ANSWER}<", "R1": f"assistant\n{ANSWER.strip()}<"}  # fmt: skip
    for name, expected in shown.items():
        text = ChatPrompts(templates.tokenizer(TEMPLATES[name])).text(talk)
        assert expected in text
        assert text.count(THOUGHT) == (name != "R1")


def test_reasoning_that_a_template_refuses_beside_text_and_calls_is_left_out():
    refuses = "{% if m.thinking and m.content and m.tool_calls %}{{ raise_exception('one of them') }}{% endif %}"
    prompts = ChatPrompts(templates.tokenizer(HARMONY.replace(HEAD, HEAD + refuses)))
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}
    answer = {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT, "tool_calls": [call]}
    assert f"\n{ANSWER}<" in prompts.text([QUESTION, answer])
    assert f"({THOUGHT})<" in prompts.text([QUESTION, {**answer, "content": ""}])
    with pytest.raises(TemplateError, match="must be"):
        prompts.text([QUESTION, {**answer, "tool_calls": ["f"]}])


def prompt(name, last, **options):
    tokenizer = templates.tokenizer(TEMPLATES[name])
    made = ChatPrompts(tokenizer).make([QUESTION, last], SamplingParams(), ChatOptions(**options))
    return tokenizer.decode(made.ids, skip_special=False), None if made.reasoning is None else made.reasoning.state


BOTH = {"content": ANSWER, "reasoning_content": THOUGHT}
ALONE = {"content": "", "reasoning_content": THOUGHT}
CLOSED = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
RAW = {"content": f"<think>{THOUGHT}"}


@pytest.mark.parametrize(
    ("name", "last", "begun", "state"),
    [
        ("QWEN3", {"content": ANSWER}, f"<think>\n\n</think>\n\n{ANSWER}", "closed"),
        ("QWEN3", BOTH, CLOSED, "closed"),
        ("QWEN3", ALONE, f"<think>\n{THOUGHT}", "open"),
        ("QWEN3", {**ALONE, "content": None}, f"<think>\n{THOUGHT}", "open"),
        ("QWEN3", RAW, f"<think>\n{THOUGHT}", "open"),
        ("QWEN3", {"content": f"{RAW['content']}</think>{ANSWER}"}, CLOSED, "closed"),
        ("QWEN3", {"content": ""}, "", "possible"),
        ("QWEN35", {"content": ANSWER}, f"<think>\n\n</think>\n\n{ANSWER}", "closed"),
        ("QWEN35", ALONE, f"<think>\n{THOUGHT}", "open"),
        ("QWEN35", {"content": ""}, "<think>\n", "open"),
        ("R1", {"content": ANSWER}, ANSWER, "closed"),
        ("R1", BOTH, CLOSED, "closed"),
        ("R1", {"content": f"<think>\n\n</think>\n\n{ANSWER}"}, f"<think>\n\n</think>\n\n{ANSWER}", "closed"),
        ("R1", ALONE, f"<think>\n{THOUGHT}", "open"),
        ("REFUSES", {"content": ANSWER}, f"<think>\n\n</think>\n\n{ANSWER}", "closed"),
        ("REFUSES", BOTH, CLOSED, "closed"),
        ("MAGISTRAL", {"content": ANSWER}, ANSWER, "closed"),
        ("MAGISTRAL", BOTH, f"[THINK]{THOUGHT}[/THINK]{ANSWER}", "closed"),
        ("MAGISTRAL", ALONE, f"[THINK]{THOUGHT}", "open"),
        ("HARMONY", {"content": ANSWER}, ANSWER, None),
    ],
)  # fmt: skip
def test_the_last_message_is_continued(name, last, begun, state):
    assert prompt(name, {"role": "assistant", **last}, continue_final=True) == (START + begun, state)


def test_messages_that_cannot_be_continued():
    with pytest.raises(ParameterError, match="must be the assistant's and have text only, found role 'user'"):
        prompt("QWEN3", QUESTION, continue_final=True)
    with pytest.raises(ParameterError, match="has reasoning, but this model has none"):
        prompt("HARMONY", {"role": "assistant", **BOTH}, continue_final=True)
    with pytest.raises(ParameterError, match="continue_final_message and add_generation_prompt"):
        prompt("QWEN3", {"role": "assistant", **BOTH}, continue_final=True, begin=True)
    with pytest.raises(TemplateError, match="the list is empty"):
        ChatPrompts(templates.tokenizer(QWEN3)).make([], SamplingParams(), ChatOptions(continue_final=True))


def test_a_prompt_may_end_with_the_last_message():
    text, state = prompt("QWEN3", QUESTION, begin=False)
    assert text.endswith("<|im_start|>user\nWhy?<|im_end|>\n")
    assert state == "possible"


_FOLDER = os.environ.get("REALIZAR_CHAT_TEMPLATES", "")
KNOWN = {
    "Apertus-8B-Instruct": "<|inner_prefix|>", "ByteDance-Seed-OSS": "<seed:think>", "GLM-4.6": "<think>",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|START_THINKING|>", "MiniMax-M3": "<mm:think>",
    "google-gemma-4-31B-it": "<|channel>thought", "mistralai-Ministral-3-14B-Reasoning-2512": "[THINK]",
    "tencent-Hy3": "<think:opensource>", "llama-cpp-deepseek-r1": "<think>", "Qwen3-Coder": None,
}  # fmt: skip


@pytest.mark.skipif(not _FOLDER, reason="REALIZAR_CHAT_TEMPLATES names no folder of *.jinja files")
@pytest.mark.parametrize("name", KNOWN)
def test_markers_of_published_templates(name):
    source = (Path(_FOLDER) / f"{name}.jinja").read_text("utf-8")
    markers = ReasoningStyle.from_template(ChatTemplate(source, "<BOS>", "<EOS>")).markers
    assert (markers and markers.opening) == KNOWN[name]
