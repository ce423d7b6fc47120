"""LLM on the default model, if it is in the cache: text, seeds, turns, threads, memory."""

import json
import re
import threading

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from tests.tokenizer.vocabularies import real

PATH = real("smollm2")
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(not PATH.is_file(), reason=f"the default model is not in the cache ({PATH})"),
]

GREEDY = SamplingParams(temperature=0.0, max_tokens=16)
PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time", "1, 2, 3, 4,"]
MESSAGES = [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.fixture(scope="module")
def llm():
    with LLM(PATH, n_ctx=512) as llm:
        yield llm


def test_capital_of_france(llm):
    (completion,) = llm.generate(PROMPTS[0], GREEDY)
    assert completion.text.startswith(" Paris")
    assert completion.finish_reason == "length"
    assert len(completion.token_ids) == 16


def test_batching_and_streaming_give_the_same_text(llm):
    texts = [completion.text for completion in llm.generate(PROMPTS, GREEDY)]
    assert [llm.generate(prompt, GREEDY)[0].text for prompt in PROMPTS] == texts
    assert ["".join(llm.stream(prompt, GREEDY)) for prompt in PROMPTS] == texts


def test_chat_ends_and_reuses_earlier_turns(llm):
    first = llm.chat(MESSAGES, SamplingParams(temperature=0.0, max_tokens=60))
    assert "4" in first.text
    assert first.finish_reason == "eos"
    assert first.stop_reason in llm.tokenizer.eog_ids
    assert "<|im_end|>" not in first.text
    turns = [*MESSAGES, {"role": "assistant", "content": first.text}, {"role": "user", "content": "And 3 + 3?"}]
    stream = llm.chat(turns, GREEDY, stream=True)
    assert "".join(stream) == stream.completion.text
    timings = stream.completion.timings
    assert timings.n_cached >= first.timings.n_prompt // 16 * 16
    assert timings.prefill_s > 0
    assert timings.decode_tok_s > 0


def test_same_seed_gives_the_same_text(llm):
    params = SamplingParams(temperature=1.0, top_p=0.9, seed=3, max_tokens=16)
    alone = llm.generate(PROMPTS[2], params)[0].text
    assert [c.text for c in llm.generate([PROMPTS[0], PROMPTS[2]], [GREEDY, params])][1] == alone


def test_stop_string_ends_the_text(llm):
    whole = llm.generate(PROMPTS[0], GREEDY)[0].text
    stop = whole[10:14]
    (completion,) = llm.generate(PROMPTS[0], SamplingParams(temperature=0.0, max_tokens=16, stop=stop))
    assert completion.text == whole[: whole.index(stop)]
    assert (completion.finish_reason, completion.stop_reason) == ("stop_string", stop)


def test_logits_and_logprobs_agree(llm):
    ids = llm.tokenize(PROMPTS[0])
    logits = llm.logits(ids)
    assert logits.shape == (len(ids), llm.engine.model.hp.n_vocab)
    (completion,) = llm.generate(ids, SamplingParams(temperature=0.0, max_tokens=1, logprobs=3))
    z = logits[-1].astype(np.float64)
    want = z - z.max() - np.log(np.exp(z - z.max()).sum())
    (first,) = completion.logprobs
    assert first.token_id == first.top[0][0] == int(want.argmax())
    np.testing.assert_allclose([p for _, p in first.top], np.sort(want)[::-1][:3], rtol=1e-6)


def test_tokenize_round_trip(llm):
    text = "naïve café ☕ 你好 🙂\n\tdef f(x): return x"
    assert llm.detokenize(llm.tokenize(text)) == text


def test_concurrent_calls(llm):
    alone = {prompt: llm.generate(prompt, GREEDY)[0].text for prompt in PROMPTS}
    found = {}
    threads = [
        threading.Thread(target=lambda prompt=prompt: found.update({prompt: llm.generate(prompt, GREEDY)[0].text}))
        for prompt in PROMPTS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_close_releases_memory():
    psutil = pytest.importorskip("psutil")
    rss = psutil.Process().memory_info
    with LLM(PATH, n_ctx=512) as llm:
        llm.generate(PROMPTS[0], GREEDY)
        del llm
    before = rss().rss
    for _ in range(3):
        with LLM(PATH, n_ctx=512) as llm:
            llm.generate(PROMPTS[0], GREEDY)
            del llm
    assert rss().rss - before < 32 << 20


def test_constraints(llm):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer", "maximum": 10**8}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    grammar = 'root ::= "1. " [^\\n]{3,40} "\\n2. " [^\\n]{3,40}'
    constraints = [
        {"json_schema": schema},
        {"regex": "[A-Z][a-z]{2,9}"},
        {"choice": ["yes", "no"]},
        {"grammar": grammar},
    ]
    several = [SamplingParams(seed=seed, max_tokens=120, **c) for c in constraints for seed in range(2)]
    alone = [llm.generate(PROMPTS[0], params)[0].text for params in several]
    found = llm.generate([PROMPTS[0]] * len(several), several)
    assert [completion.text for completion in found] == alone
    whole = [completion.text for completion in found if completion.finish_reason in ("grammar", "eos")]
    assert [set(json.loads(text)) for text in whole if text.startswith("{")] in (
        [{"city", "people"}] * n for n in (1, 2)
    )
    assert all(re.fullmatch("[A-Z][a-z]{2,9}", text) for text in alone[2:4])
    assert set(alone[4:6]) <= {"yes", "no"}
    assert all(re.fullmatch(r"1\. [^\n]{3,40}\n2\. [^\n]{3,40}", text) for text in alone[6:8])
