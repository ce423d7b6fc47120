"""Token filters and DRY against their definitions: bias, allowed tokens, bad words, n-grams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar._kernels import token_filters
from realizar.errors import ParameterError, RealizarError
from realizar.params import SamplingParams
from realizar.sampling import (
    AllowedTokens,
    BadWords,
    Dry,
    Greedy,
    LogitBias,
    MinTokens,
    NoRepeatNgram,
    Penalties,
    Sampler,
    SamplerChain,
    TopK,
)
from tests.sampling import definitions
from tests.sampling.definitions import Logits, apply, logits
from tests.sampling.vocabulary import N_VOCAB, PIECES, token_bytes

TOKEN_BYTES = token_bytes()
words = st.lists(st.text("abc\né", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple)
histories = st.lists(st.integers(0, N_VOCAB - 1), max_size=30)


def after(x: Logits, sampler: Sampler, history: list[int]) -> Logits:
    """Return the resulting logits; checks that they are the same if an earlier sampler dropped candidates."""
    found = apply(x, sampler, history=history)
    y = np.full(len(x), -np.inf, np.float32)
    y[found.token_ids] = found.logits
    packed = apply(x, TopK(max(1, len(x) // 2)), sampler, history=history)
    np.testing.assert_array_equal(packed.logits, y[packed.token_ids])
    return y


def banned(sampler: Sampler, history: list[int]) -> set[int]:
    return set(np.flatnonzero(after(np.zeros(N_VOCAB, np.float32), sampler, history) == -np.inf))


@given(logits, st.integers(0, 2**128 - 1), st.integers(0, 4), st.integers(1, 100))
def test_bits(x: Logits, mask: int, n_words: int, k: int) -> None:
    bits = np.array([mask >> 32 * i & 0xFFFFFFFF for i in range(n_words)], np.uint32)
    for before in ([], [TopK(k)]):
        candidates = apply(x, *before)
        expected = {t for t in candidates.token_ids.tolist() if t < 32 * n_words and mask >> t & 1}
        token_filters.keep_bits(candidates, bits)
        assert sorted(candidates.token_ids) == sorted(expected)
        np.testing.assert_array_equal(candidates.logits, x[candidates.token_ids])


@given(logits, st.data())
def test_bias(x: Logits, data: st.DataObject) -> None:
    biases = data.draw(
        st.dictionaries(st.integers(0, len(x) - 1), st.sampled_from([-np.inf, -1e6, -1.5, 0.0, 2.0, 1e6]), min_size=1)
    )
    expected = x.astype(np.float64)
    expected[list(biases)] += list(biases.values())
    finite = np.finfo(np.float32)
    expected = np.where(np.isinf(expected), expected, np.clip(expected, finite.min, finite.max)).astype(np.float32)
    np.testing.assert_array_equal(after(x, LogitBias(tuple(biases.items())), []), expected)


@given(logits, st.data())
def test_allowed(x: Logits, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(x) - 1), min_size=1))
    found = apply(x, AllowedTokens(tuple(ids)))
    assert sorted(found.token_ids) == sorted(set(ids))
    np.testing.assert_array_equal(found.logits, x[found.token_ids])


@given(histories, st.integers(1, 5))
def test_no_repeat(history: list[int], n: int) -> None:
    runs = {tuple(history[i : i + n]) for i in range(len(history) - n + 1)}
    expected = {t for t in range(N_VOCAB) if (*history[len(history) - n + 1 :], t) in runs and len(history) >= n - 1}
    assert banned(NoRepeatNgram(n), history) == expected


@given(histories, words)
def test_bad_words(history: list[int], bad: tuple[str, ...]) -> None:
    spoken = [b"|" if i in (0, N_VOCAB - 1) else PIECES[i] for i in history]  # tokens without text separate words
    before = b"".join(spoken)
    for token in range(N_VOCAB - 1):
        text = before + (PIECES[token] or b"|")
        done = any(text.find(word.encode(), max(0, len(before) + 1 - len(word.encode()))) >= 0 for word in bad)
        assert done == (token in banned(BadWords(bad, TOKEN_BYTES), history)), (token, text)


@given(
    history=st.lists(st.sampled_from([1, 1, 2, 3, 4, 8, 9]), max_size=40),
    allowed=st.integers(1, 4),
    base=st.sampled_from([1.0, 1.75, 1e9]),
    breakers=st.sampled_from([(), ("\n",), ("c", "ab"), ("bca\n",)]),
)
def test_dry(history: list[int], allowed: int, base: float, breakers: tuple[str, ...]) -> None:
    x = np.linspace(-3, 3, N_VOCAB, dtype=np.float32)
    x[5] = -np.inf
    rests = TOKEN_BYTES.sequence_breakers(breakers)
    found = after(x, Dry(0.8, base, allowed, rests, N_VOCAB), history)
    np.testing.assert_allclose(found, definitions.dry(x, history, 0.8, base, allowed, rests), rtol=1e-5, atol=1e-5)


def test_dry_by_hand() -> None:
    """llama.cpp's example: the last `a b c` occurred before, followed by `c`, and `b c` followed by `y`."""
    a, b, c, y = 1, 2, 3, 4
    found = apply(np.zeros(N_VOCAB, np.float32), Dry(1.0, 2.0, 1, {}, N_VOCAB), history=[a, b, c, c, b, c, y, a, b, c])
    assert found.logits[[a, b, c, y]].tolist() == [0.0, -1.0, -4.0, -2.0]


def test_breakers_are_found_in_every_tokenization() -> None:
    found = TOKEN_BYTES.sequence_breakers(("\n",))
    assert found == {PIECES.index(piece): {()} for piece in (b"\n", b"c\n", b"\na")}
    found = TOKEN_BYTES.sequence_breakers(("bc",))
    assert found[PIECES.index(b"abc")] == {()}
    assert found[PIECES.index(b"ab")] == found[PIECES.index(b"b")] == {(PIECES.index(b"c"),)}


def test_min_tokens() -> None:
    params = SamplingParams(temperature=0.0, min_tokens=3)
    chain = SamplerChain.from_params(params, 10, 0, n_prompt=2, end_ids=frozenset((7,)))
    x = np.zeros(10, np.float32)
    x[[7, 3]] = 2, 1
    assert [chain.sample(x, range(n), n).token_id for n in range(2, 7)] == [3, 3, 3, 7, 7]
    assert banned(MinTokens(5, (7, 8)), [1] * 4) == {7, 8}


def test_token_filters_come_first_in_every_order() -> None:
    params = SamplingParams(
        temperature=0.0, top_k=2, allowed_token_ids=[5, 1, 2], logit_bias={1: 3}, no_repeat_ngram_size=2, bad_words="b",
        dry_multiplier=0.5, presence_penalty=1.0, samplers=["dry", "penalties", "top_k", "temperature"],
    )  # fmt: skip
    kinds = [type(s) for s in SamplerChain.from_params(params, N_VOCAB, 0, TOKEN_BYTES).samplers]
    assert kinds == [AllowedTokens, BadWords, NoRepeatNgram, LogitBias, Dry, Penalties, Greedy]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_removing_all_candidates_is_an_error(temperature: float) -> None:
    params = SamplingParams(temperature=temperature, allowed_token_ids=[3], logit_bias={3: -np.inf}, top_p=0.9)
    chain = SamplerChain.from_params(params, 10, 0)
    with pytest.raises(RealizarError, match=r"no token can be chosen: LogitBias\(.* removes all"):
        chain.sample(np.zeros(10, np.float32), [], 0)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        (
            SamplingParams(allowed_token_ids=[1, 10]),
            "allowed_token_ids: 10 is not a token id: the model has ids 0 to 9",
        ),
        (SamplingParams(logit_bias={-1: 1.0}), "logit_bias: -1 is not a token id"),
        (SamplingParams(bad_words="a"), "bad_words needs the bytes of the tokens"),
        (SamplingParams(dry_multiplier=1.0), "dry_sequence_breakers needs the bytes"),
    ],
)
def test_params_that_do_not_fit_the_model(params: SamplingParams, found: str) -> None:
    with pytest.raises(ParameterError, match=found):
        SamplerChain.from_params(params, 10, 0)


@pytest.mark.parametrize("sampler", [NoRepeatNgram(2), Dry(1.0, 2.0, 1, {0: {()}}, 10), LogitBias(((12, 1.0),))])
def test_invalid_token_ids(sampler: Sampler) -> None:
    chain = SamplerChain([sampler], 10, 0)
    with pytest.raises(ParameterError, match="no token of a vocabulary of 10"):
        chain.sample(np.zeros(10, np.float32), [1, 2, 11], 3)
