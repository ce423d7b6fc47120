"""LLM.score and token healing on a small model with a real vocabulary, and on real models if in the cache."""

import math

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.errors import ContextFullError, ParameterError, RealizarError
from tests.limits.models import LLAMA
from tests.tokenizer.vocabularies import real

SMOLLM = real("smollm2")
TEXT = "the dog and the cat saw a house"


@pytest.fixture(scope="module")
def llm():
    with LLM(LLAMA, n_threads=1, n_ctx=64) as llm:
        yield llm


def defined(llm, ids, n_given):
    x = llm.logits(ids[:-1]).astype(float)[n_given - 1 :]
    x -= np.log(np.exp(x - x.max()).sum(axis=1, keepdims=True)) + x.max()
    return x[np.arange(len(x)), ids[n_given:]]


def test_score_matches_logits(llm):
    score = llm.score(TEXT[:11], TEXT[11:], logprobs=2)
    ids = llm.tokenize(TEXT)
    n = len(ids) - len(score.token_ids)
    assert score.token_ids == ids[n:]
    assert llm.detokenize(ids[:n]) == TEXT[:11].rstrip()
    np.testing.assert_allclose([s.logprob for s in score.logprobs], defined(llm, ids, n), atol=1e-5)
    assert all(len(s.top) == 2 for s in score.logprobs)
    assert score.logprob < 0


def test_tokens_across_the_boundary_are_scored_as_a_whole(llm):
    ids = llm.tokenize(TEXT)
    for cut in range(len(TEXT)):
        found = llm.score(TEXT[:cut], TEXT[cut:]).token_ids
        assert found == ids[len(ids) - len(found) :]
        assert llm.detokenize(found).strip().endswith(TEXT[cut:].strip())


@pytest.mark.parametrize("params", [{"n_threads": 3}, {"n_batch": 1}, {"n_batch": 7}])
def test_score_is_bitwise_reproducible(llm, params):
    want = llm.score(TEXT[:4], TEXT[4:], logprobs=3)
    (asked,) = llm.generate(TEXT, SamplingParams(max_tokens=1, prompt_logprobs=3))
    with LLM(LLAMA, **{"n_threads": 1, "n_ctx": 64, **params}) as other:
        assert other.score(TEXT[:4], TEXT[4:], logprobs=3) == want
        assert other.score(TEXT[:4], [TEXT[4:9], TEXT[4:]], logprobs=3)[1] == want  # next to another request
        (read,) = other.generate(TEXT, SamplingParams(max_tokens=1, prompt_logprobs=3))
    assert read.prompt_logprobs == asked.prompt_logprobs
    assert asked.prompt_logprobs[-len(want.logprobs) :] == want.logprobs


def test_token_ids_are_not_retokenized(llm):
    ids = llm.tokenize(TEXT)
    for prompt, tail in ((ids[:3], ids[3:]), (np.array(ids[:3]), tuple(ids[3:])), (ids[:3], np.array(ids[3:]))):
        assert llm.score(prompt, tail).token_ids == ids[3:]
    assert llm.score(ids, " a").token_ids == llm.tokenize(" a", add_special=False)


def test_list_of_continuations(llm):
    texts = [" cat", " dog saw", " a"]
    assert llm.score("the", texts) == [llm.score("the", text) for text in texts]
    assert llm.score("the", [[7], [8, 9]]) == [llm.score("the", [7]), llm.score("the", [8, 9])]
    assert llm.score("the", ["a"])[0] == llm.score("the", "a")


@pytest.mark.parametrize(
    ("prompt", "tail", "error"),
    [
        ("the", "", ParameterError),
        ("the", [], ParameterError),
        ("the", ["a", ""], ParameterError),
        ("the", [10**9], ParameterError),
        ("the", None, RealizarError),
        ("the", 5, RealizarError),
        ("the", b"a", RealizarError),
        (None, "a", RealizarError),
        ("a " * 80, "a", ContextFullError),
        ("the", "\ud800", RealizarError),
    ],
)
def test_invalid_inputs_of_score(llm, prompt, tail, error):
    with pytest.raises(error):
        llm.score(prompt, tail)
    assert not llm.engine.scheduler.running


def test_text_may_have_one_token_more_than_the_context(llm):
    ids = [1, *[5] * 64]
    assert len(llm.score(ids[:1], ids[1:]).token_ids) == 64


@pytest.mark.parametrize("prompt", [TEXT[:n] for n in (1, 2, 5, 9, 14, 22, 31)])
@pytest.mark.parametrize("seed", range(3))
def test_healing_continues_the_prompt_text(llm, prompt, seed):
    """The resampled token starts with the text of the dropped one, so the prompt's text is preserved."""
    ids = llm.tokenize(prompt)
    params = SamplingParams(seed=seed, max_tokens=5, token_healing=True, ignore_eos=True)
    (completion,) = llm.generate(prompt, params)
    whole = [*ids[:-1], *completion.token_ids]
    assert llm.detokenize(whole) == prompt + completion.text
    assert llm.tokenizer.token_bytes(whole[len(ids) - 1]).startswith(llm.tokenizer.token_bytes(ids[-1]))
    assert completion.timings.n_prompt == len(ids) - 1
    assert "".join(llm.stream(prompt, params)) == completion.text
    (echo,) = llm.generate(prompt, SamplingParams(**{**params.__dict__, "echo": True}))
    assert echo.text == prompt + completion.text


def test_healing_samples_by_the_model(llm):
    ids = llm.tokenize(TEXT[:9])
    (completion,) = llm.generate(ids, SamplingParams(temperature=0.0, max_tokens=1, token_healing=True))
    start = llm.tokenizer.token_bytes(ids[-1])
    logits = llm.logits(ids[:-1])[-1]
    fits = [i for i in range(llm.tokenizer.n_vocab) if llm.tokenizer.token_bytes(i).startswith(start)]
    assert completion.token_ids == [max(fits, key=lambda i: (logits[i], -i))]
    assert len(fits) > 1


def test_prompts_without_healing(llm):
    """A prompt of one token, and one that ends with a control token."""
    for ids in ([5], [1, 5, 2]):
        plain, healed = (
            llm.generate(ids, SamplingParams(temperature=0.0, max_tokens=3, token_healing=on))[0]
            for on in (False, True)
        )
        assert plain.token_ids == healed.token_ids
        assert plain.text == healed.text


def test_healing_and_a_grammar_exclude_each_other():
    with pytest.raises(ParameterError, match="token_healing and regex"):
        SamplingParams(token_healing=True, regex="a")


@pytest.mark.real_model
@pytest.mark.skipif(not SMOLLM.is_file(), reason=f"the default model is not in the cache ({SMOLLM})")
def test_real_model_ranks_continuations():
    with LLM(SMOLLM, n_ctx=256) as llm:
        paris, berlin = llm.score("The capital of France is", [" Paris", " Berlin"])
        assert paris.is_greedy
        assert paris.logprob > berlin.logprob + 1
        assert math.exp(paris.logprob) > 0.2
        healing = SamplingParams(temperature=0.0, max_tokens=4, token_healing=True)
        assert llm.generate('The link is <a href="http:', healing)[0].text.startswith("//")
        with pytest.raises(ParameterError, match="score: 'a' and 'b' merge into one token"):
            llm.score("a", "b")
