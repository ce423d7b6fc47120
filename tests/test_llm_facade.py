"""LLM on a tiny random model: inputs, results and errors."""

import gc
import threading
import weakref

import numpy as np
import pytest

import realizar
from realizar import loaded
from realizar.errors import ContextFullError, ParameterError, RealizarError, TemplateError
from realizar.llm import LLM
from realizar.params import SamplingParams
from realizar.tokenizer import ChatTemplate
from tests.engine.fake import FULL, FakeModel, continuation, expected

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True)


def answer(text, n=6):
    tokens = [ord(c) - 96 for c in text]
    for _ in range(n):
        tokens.append(int(expected(FULL, tokens).argmax()))
    return "".join(chr(96 + t) for t in tokens[len(text) :])


@pytest.fixture
def model(monkeypatch):
    model = FakeModel(FULL)
    monkeypatch.setattr(loaded, "load_model", lambda path, mode, has_draft: model)
    monkeypatch.setattr(loaded.store, "resolve", lambda name: name)
    return model


@pytest.fixture
def llm(model):
    with LLM("made-up", n_threads=2, n_ctx=128) as llm:
        yield llm


@pytest.mark.parametrize("prompt", ["abc", [1, 2, 3], (1, 2, 3), np.array([1, 2, 3])])
def test_one_prompt(llm, prompt):
    (completion,) = llm.generate(prompt, GREEDY)
    assert completion.text == answer("abc")
    assert completion.finish_reason == "length"


def test_list_of_prompts(llm):
    completions = llm.generate(["abc", [4, 5], "qr"], [GREEDY, GREEDY, SamplingParams(temperature=0.0, max_tokens=2)])
    assert [c.text for c in completions] == [answer("abc"), answer("de"), answer("qr", 2)]
    assert [c.text for c in llm.generate([[1, 2, 3], [4, 5]], GREEDY)] == [answer("abc"), answer("de")]


def test_default_params(llm):
    (completion,) = llm.generate("abc")
    assert 1 <= len(completion.token_ids) <= SamplingParams().max_tokens
    assert completion.logprobs is None


@pytest.mark.parametrize("prompt", ["", [""], ["abc", ""], [[]], [99], [[1], [-1]], [1, "a"], 5, [None], [1.0], b"abc"])
def test_invalid_prompts(llm, prompt):
    with pytest.raises(ParameterError):
        llm.generate(prompt, GREEDY)
    assert llm.generate("abc", GREEDY)[0].text == answer("abc")


def test_number_of_params_must_match_prompts(llm):
    with pytest.raises(ParameterError, match="2 prompts, but 1 params"):
        llm.generate(["a", "b"], [GREEDY])


def test_prompt_longer_than_the_context(llm):
    for ask in (llm.generate, llm.stream):
        with pytest.raises(ContextFullError, match="129 tokens do not fit into the context of 128"):
            ask("a" * 129, GREEDY)
    with pytest.raises(ContextFullError):
        llm.logits([1] * 129)


def test_one_invalid_prompt_leaves_no_request(llm):
    with pytest.raises(ContextFullError):
        llm.generate(["abc", "a" * 129], GREEDY)
    llm.generate("abc", GREEDY)
    assert not llm.engine.scheduler.running
    assert not llm.engine.scheduler.waiting


def test_stream_pieces_concatenate_to_the_text(llm):
    stream = llm.stream("abc", GREEDY)
    pieces = list(stream)
    assert len(pieces) == 6
    assert "".join(pieces) == stream.completion.text == answer("abc")
    assert stream.completion.timings.n_generated == 6
    assert next(stream, None) is None


def test_dropped_stream_cancels_its_request(llm):
    stream = llm.stream("abc", SamplingParams(temperature=0.0, max_tokens=100, ignore_eos=True))
    next(stream)
    request = stream._request
    del stream
    gc.collect()
    assert request.cancelled
    llm.generate("abc", GREEDY)
    assert not llm.engine.scheduler.running


def test_chat_reuses_earlier_turns_from_the_prefix_cache(llm, model):
    with pytest.raises(TemplateError, match="no chat template"):
        llm.chat([{"role": "user", "content": "a"}])
    model.tokenizer.chat_template = ChatTemplate("{% for m in messages %}{{ m.content }}z{% endfor %}y", "", "")
    messages = [{"role": "user", "content": "abcdefghijklmnopqrstuvwx"}]
    first = llm.chat(messages, GREEDY)
    assert first.text == answer("abcdefghijklmnopqrstuvwxzy")
    messages += [{"role": "assistant", "content": "q" * 8}, {"role": "user", "content": "abc"}]
    second = llm.chat(messages, GREEDY, stream=True)
    assert "".join(second) == answer("abcdefghijklmnopqrstuvwxz" + "q" * 8 + "zabczy")
    assert second.completion.timings.n_cached == 16


def test_logits(llm):
    logits = llm.logits([1, 2, 3])
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, [expected(FULL, [1, 2, 3][: i + 1]) for i in range(3)])


def test_tokenize_round_trip(llm):
    assert llm.tokenize("abc") == [1, 2, 3]
    assert llm.detokenize([1, 2, 3]) == "abc"


def test_concurrent_calls(llm):
    texts = ["abc", "de" * 20, "f", "ghijk" * 9]
    found = {}
    threads = [
        threading.Thread(target=lambda text=text: found.update({text: llm.generate(text, GREEDY)[0].text}))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {text: answer(text) for text in texts}


def test_close_releases_everything(model):
    llm = LLM("made-up", n_threads=2, n_ctx=128)
    llm.generate("abc", GREEDY)
    cache = weakref.ref(llm.engine.cache)
    llm.close()
    assert model.closed
    del model.program
    gc.collect()
    assert cache() is None


def test_closed_llm_raises(model):
    llm = LLM("made-up", n_threads=2, n_ctx=128)
    stream = llm.stream("abc", GREEDY)
    llm.close()
    llm.close()
    with pytest.raises(RealizarError, match="closed before the request was done"):
        next(stream)
    for use in (lambda: llm.generate("abc"), lambda: llm.tokenize("abc"), lambda: llm.logits([1])):
        with pytest.raises(RealizarError, match="this LLM is closed"):
            use()


def test_parameters_are_validated_before_the_model_is_resolved():
    with pytest.raises(ParameterError, match="n_ctx"):
        LLM("no such model", n_ctx=0)


def test_out_of_memory(model):
    with pytest.raises(ParameterError, match=r"GiB in one piece.*less n_ctx"):
        LLM("made-up", n_threads=2, n_ctx=1 << 24, n_seqs=4096)
    assert model.closed


def test_public_names():
    assert {"LLM", "SamplingParams", "Completion", "hookimpl"} <= set(dir(realizar))
    assert realizar.LLM is LLM
    with pytest.raises(AttributeError, match="did you mean LLM"):
        realizar.LLMs  # noqa: B018


def test_end_of_generation_token_is_not_text(llm):
    (completion,) = llm.generate([[1, 2, 3]], SamplingParams(temperature=0.0, max_tokens=100))
    assert completion.token_ids == continuation(FULL, [1, 2, 3], 100, 128)
    assert "`" not in completion.text
