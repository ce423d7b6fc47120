"""LLM.chat: several conversations, templates of the caller, continued messages."""

import asyncio

import pytest

from realizar import LLM, AsyncLLM, SamplingParams
from realizar.errors import ParameterError, TemplateError
from tests.calls import templates
from tests.limits.models import QWEN2, rewritten

GREEDY = SamplingParams(temperature=0.0, max_tokens=6)
TALKS = [[{"role": "user", "content": text}] for text in ("Hi", "Why?", "How?")]
UPPER = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[me] {% endif %}"
)
BEGUN = {"role": "assistant", "content": "It is "}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat") / "m.gguf"
    return rewritten(QWEN2, path, {"tokenizer.chat_template": templates.HERMES})


@pytest.fixture(scope="module")
def llm(path):
    with LLM(path, n_threads=1) as llm:
        yield llm


def test_several_conversations_are_one_batch(llm, path):
    alone = [llm.chat(talk, GREEDY).token_ids for talk in TALKS]
    for talks in (TALKS, tuple(TALKS), [tuple(talk) for talk in TALKS]):
        assert [answer.token_ids for answer in llm.chat(talks, GREEDY)] == alone
    assert [answer.token_ids for answer in llm.chat(TALKS[:1], GREEDY)] == alone[:1]
    each = [SamplingParams(temperature=0.0, max_tokens=n) for n in (1, 2, 3)]
    assert [answer.token_ids for answer in llm.chat(TALKS, each)] == [ids[:n] for n, ids in enumerate(alone, 1)]

    async def found():
        async with AsyncLLM(path, n_threads=1) as other:
            return [answer.token_ids for answer in await other.chat(TALKS, GREEDY)]

    assert asyncio.run(found()) == alone


@pytest.mark.parametrize(
    ("talks", "options", "error", "message"),
    [
        ([TALKS[0], []], {}, TemplateError, "^conversation 1: messages: the list is empty"),
        ([TALKS[0], [{"role": "user"}]], {}, TemplateError, r'^conversation 1: messages\[0\]: has no "content"'),
        ([TALKS[0], "Hi"], {}, TemplateError, "^conversation 1: messages: must be a list of messages"),
        ([TALKS[0][0], TALKS[1]], {}, TemplateError, r"^messages\[1\]: must be .*found list"),
        ([], {}, TemplateError, "^messages: the list is empty"),
        (TALKS, {"stream": True}, ParameterError, "stream: 3 conversations cannot be one stream"),
        (TALKS, {"params": [GREEDY]}, ParameterError, "3 prompts, but 1 params"),
        (TALKS, {"continue_final_message": True}, ParameterError, "^conversation 0: continue_final_message"),
        (TALKS[0], {"continue_final_message": True, "add_generation_prompt": True}, ParameterError, "give one of them"),
        (TALKS[0], {"tool_choice": "required"}, ParameterError, "no tools were given"),
        (
            TALKS[0],
            {"chat_template": 3},
            ParameterError,
            "chat_template=3: must be the text of a template, or the path",
        ),
        (TALKS[0], {"chat_template": "chatml"}, ParameterError, "'chatml': is no template.*cannot be read as a file"),
        (TALKS[0], {"chat_template": "{% if %}"}, TemplateError, "chat template failed in line 1"),
    ],
)
def test_wrong_conversations(llm, talks, options, error, message):
    with pytest.raises(error, match=message):
        llm.chat(talks, **options)
    assert not llm.engine.scheduler.waiting


def test_the_templates_of_callers(llm, tmp_path):
    file = tmp_path / "upper.jinja"
    file.write_text(UPPER, encoding="utf-8")
    for template in (UPPER, file, str(file)):
        assert llm.chat_text(TALKS[0], chat_template=template) == "[user] Hi\n[me] "
    ids = llm.tokenize("[user] Hi\n[me] ", add_special=False)
    assert llm.chat_prompt(TALKS[0], chat_template=file).ids == ids
    assert llm.chat(TALKS[0], GREEDY, chat_template=UPPER).token_ids == llm.generate([ids], GREEDY)[0].token_ids
    stream = llm.chat(TALKS[0], GREEDY, chat_template=UPPER, stream=True)
    assert "".join(stream) == llm.chat(TALKS[0], GREEDY, chat_template=UPPER).text
    assert llm.chat_text(TALKS[0]) != llm.chat_text(TALKS[0], chat_template=UPPER)


def test_few_templates_are_kept(llm):
    for i in range(20):
        assert llm.chat_text(TALKS[0], chat_template=f"{i}{UPPER}").startswith(f"{i}[user]")
    assert len(llm._given._known) == 8


def test_the_last_message_is_continued(llm):
    talk = [*TALKS[0], BEGUN]
    text = llm.chat_text(talk, continue_final_message=True)
    assert text == llm.chat_text(TALKS[0]) + "It is "
    answer = llm.chat(talk, GREEDY, continue_final_message=True)
    ids = llm.tokenize(text, add_special=False, parse_special=True)
    assert answer.token_ids == llm.generate([ids], GREEDY)[0].token_ids
    assert llm.chat_text(talk, add_generation_prompt=False) == llm.chat_text(talk).removesuffix(
        "<|im_start|>assistant\n"
    )


def test_a_chat_prompt_has_its_own_params(llm):
    made = llm.chat_prompt(TALKS[0], GREEDY)
    assert "".join(llm.stream(made)) == llm.chat(TALKS[0], GREEDY).text
    for ask in (llm.stream, llm.events):
        with pytest.raises(ParameterError, match="the prompt of a conversation has its own"):
            ask(made, GREEDY)
