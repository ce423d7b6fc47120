"""POST /v1/completions, with OpenAI's own client."""

import json

import numpy as np
import pytest

openai = pytest.importorskip("openai", reason="needs the extra server, and openai")
pytest.importorskip("realizar.server.app", reason="needs the extra server")

from realizar import LLM  # noqa: E402
from tests.server.serving import serving, write_model  # noqa: E402

GREEDY = {"model": "tiny", "prompt": "How is the weather", "temperature": 0, "max_tokens": 8}


def ask(client, **changes):
    return client.completions.create(**{**GREEDY, **changes})


@pytest.fixture(scope="module")
def llm(model_path):
    with LLM(model_path, n_threads=1, n_ctx=512) as found:
        yield found


def test_several_prompts_are_answered_in_order(client):
    prompts = ["One two", "Three", "How is the weather"]
    answer = ask(client, prompt=prompts)
    alone = [ask(client, prompt=prompt).choices[0].text for prompt in prompts]
    assert [choice.text for choice in answer.choices] == alone
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = ["", "", ""]
    for chunk in ask(client, prompt=prompts, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == alone


def test_several_completions_of_several_prompts(client):
    answer = ask(client, prompt=["One two", "Three"], n=2, temperature=1, seed=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in answer.choices}) == 4


def test_token_ids_are_prompts(client, llm):
    ids = llm.tokenize(GREEDY["prompt"])
    text = ask(client).choices[0].text
    assert ask(client, prompt=ids).choices[0].text == text
    assert [choice.text for choice in ask(client, prompt=[ids, ids]).choices] == [text, text]


def test_a_conversation_that_the_client_renders(client, server):
    """Special tokens count as such; what /apply-template gives can be continued."""
    messages = [{"role": "user", "content": "How is it?"}]
    prompt = server.post("/apply-template", {"messages": messages})[1]["prompt"]
    chat = client.chat.completions.create(model="tiny", messages=messages, temperature=0, max_tokens=8)
    answer = ask(client, prompt=prompt)
    assert answer.choices[0].text == chat.choices[0].message.content
    assert answer.usage.prompt_tokens == chat.usage.prompt_tokens


def test_echo_with_logprobs_scores_a_prompt(client, llm):
    """What lm-eval asks for."""
    ids = llm.tokenize("How is the weather in Rome?")
    choice = ask(client, prompt=[ids], max_tokens=1, echo=True, logprobs=1).choices[0]
    rows = llm.logits(ids).astype(np.float64)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    want = [rows[i, token] for i, token in enumerate(ids[1:])]
    assert choice.logprobs.token_logprobs[0] is None
    np.testing.assert_allclose(choice.logprobs.token_logprobs[1 : len(ids)], want, atol=1e-4)
    assert len(choice.logprobs.tokens) == len(ids) + 1
    for top, row, token in zip(choice.logprobs.top_logprobs[1:-1], rows, ids[1:], strict=False):
        assert list(top.values()) == pytest.approx(list(dict.fromkeys([row.max(), row[token]])), abs=1e-4)


def test_echo_of_no_tokens(client, llm):
    ids = llm.tokenize("How is the weather")
    choice = ask(client, max_tokens=0, echo=True, logprobs=2).choices[0]
    assert choice.text == "How is the weather"
    assert len(choice.logprobs.tokens) == len(ids)
    assert choice.logprobs.text_offset[1] == len(choice.logprobs.tokens[0])
    assert choice.finish_reason == "length"


def test_logprobs_without_echo_are_of_the_completion(client):
    alone = ask(client, logprobs=1).choices[0].logprobs
    assert len(alone.tokens) == GREEDY["max_tokens"]
    assert ask(client, logprobs=1, extra_body={"prompt_logprobs": 1}).choices[0].logprobs == alone


def test_the_best_of_several(client):
    answer = ask(client, best_of=3, n=1, temperature=1, seed=1, logprobs=0)
    assert len(answer.choices) == 1
    assert answer.choices[0].text


def test_fill_in_the_middle(client, tmp_path):
    ids = {f"tokenizer.ggml.fim_{name}_token_id": i for i, name in enumerate(("pre", "suf", "mid"), 370)}
    path = write_model(tmp_path / "fim.gguf", **ids)
    with serving(path) as other:
        status, body = other.post("/v1/completions", {"prompt": "def f(", "suffix": "return 1", "max_tokens": 4})
        assert status == 200
        assert body["usage"]["completion_tokens"] == 4
    with pytest.raises(openai.BadRequestError, match="fill-in-the-middle"):
        ask(client, suffix="an end")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"prompt": []}, "at least 1"), ({"prompt": [10**6]}, "does not exist"), ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": ["a"] * 300}, "at most 256"), ({"logprobs": 21}, "less than or equal"),
        ({"stream": True, "echo": True, "logprobs": 1}, "stream"), ({"suffix": "x", "prompt": [1]}, "suffix"),
    ],
)  # fmt: skip
def test_errors(client, changes, text):
    with pytest.raises(openai.BadRequestError, match=text):
        ask(client, **changes)


def test_bodies_without_a_content_type_are_json(server):
    body = json.dumps(GREEDY)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert server.http.post("/v1/completions", content=body, headers=form).status_code == 200
    response = server.http.post("/v1/completions", content=body, headers={**form, "origin": server.url})
    assert response.status_code == 400
