"""Long lists in a request have a limit or take linear work, which is counted."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from realizar._kernels import token_filters
from realizar.errors import ParameterError
from realizar.params import SamplingParams
from realizar.params.sampling import MAX_SAMPLERS, STRINGS
from realizar.sampling import (
    AllowedTokens,
    BadWords,
    Dry,
    LogitBias,
    SamplerChain,
    StopFilter,
    TokenBytes,
)
from realizar.sampling import token_bytes as token_bytes_module
from realizar.tokenizer import Tokenizer
from tests.limits.scripts import run
from tests.sampling.definitions import apply
from tests.sampling.vocabulary import N_VOCAB, PIECES, Letters, token_bytes


class Counted(bytes):
    """A piece that counts its slices."""

    n_slices = 0

    def __getitem__(self, at):
        Counted.n_slices += 1
        return super().__getitem__(at)


def words_of(n: int) -> tuple[str, ...]:
    """Return n words with a fixed distribution of lengths."""
    return tuple(f"a{i:06d}"[: 3 + i % 5] + f"{i:06d}" for i in range(n))


def test_the_search_for_bad_words_does_not_depend_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 words took over a minute. The tokens are searched once, regardless of the number of words."""
    monkeypatch.setattr(token_bytes_module, "MAX_SINGLE_SEARCHES", 0)
    counts = []
    for n in (10, 1000, 100_000):
        vocabulary = token_bytes()
        monkeypatch.setitem(vocabulary.__dict__, "pieces", [Counted(piece * 5) for piece in PIECES])
        Counted.n_slices = 0
        BadWords(words_of(n), vocabulary)
        counts.append(Counted.n_slices)
    assert 0 < counts[0] == counts[1] == counts[2]


def test_completions_of_bad_words_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = token_bytes()
    words = tuple({"abc" + "abc"[i % 3] * (i // 3 + 1) for i in range(3000)} | {"bb" + "c" * i for i in range(1, 900)})
    sampler = BadWords(words[:2000], vocabulary)
    asked: list[bytes] = []
    starting = vocabulary.starting
    monkeypatch.setattr(vocabulary, "starting", lambda rest: (asked.append(rest), starting(rest))[1])
    history = [1, 2, 3, 1, 2, 11, 3, 3, 6, 1, 2, 3, 3, 3]
    for _ in range(3):
        for n in range(len(history) + 1):
            apply(np.zeros(N_VOCAB, np.float32), sampler, history=history[:n])
    assert len(asked) <= sum(map(len, words))
    n_first = len(asked)
    apply(np.zeros(N_VOCAB, np.float32), sampler, history=history)
    assert len(asked) == n_first


@pytest.mark.parametrize("few", [0, 16])
def test_many_bad_words_ban_the_same_as_each_of_them(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_bytes_module, "MAX_SINGLE_SEARCHES", few)
    words = ("ab", "bca", "é", "cc", "aab", "b\n", "cabb", "ba", "cab\n", "bbb", "éa", "aé", "abab", "cbc", "\n\n",
             "acb", "caa", "bcb", "abcabc")  # fmt: skip
    for history in ([], [1], [1, 1], [6, 3], [7], [12], [4, 4], [3, 2, 8]):
        found = apply(np.zeros(N_VOCAB, np.float32), BadWords(words, token_bytes()), history=history)
        each = [
            apply(np.zeros(N_VOCAB, np.float32), BadWords((word,), token_bytes()), history=history) for word in words
        ]
        np.testing.assert_array_equal(found.logits, np.min([one.logits for one in each], axis=0))


def test_a_hundred_thousand_bad_words_in_a_chain() -> None:
    params = SamplingParams(bad_words=(*words_of(100_000), "ab"), temperature=0.0)
    chain = SamplerChain.from_params(params, N_VOCAB, 0, token_bytes())
    x = np.zeros(N_VOCAB, np.float32)
    x[[4, 2, 1]] = 3, 2, 1
    assert [chain.sample(x, history, len(history)).token_id for history in ([], [1], [2])] == [2, 1, 2]


REPEATED = """
import numpy as np
from realizar._kernels.sampling import Candidates
from realizar.sampling import NoRepeatNgram
n = 1 << 24
candidates = Candidates(10)
assert candidates.load(np.zeros(10, np.float32))
NoRepeatNgram(n // 2).apply(candidates, np.zeros(n, np.int32))
print(np.flatnonzero(candidates.logits).tolist())
"""


def test_no_repeat_ngram_takes_linear_time(tmp_path: Path) -> None:
    """The history repeats one token; comparing all pairs of n-grams (2^46 pairs of tokens) would not end."""
    assert run(tmp_path, REPEATED, Path()) == [0]


class Counting(Letters):
    """Counts calls of encode."""

    n_encoded = 0

    def encode(self, text: str, add_special: bool = True) -> list[int]:
        Counting.n_encoded += 1
        return super().encode(text, add_special)


def test_sequence_breakers_encode_each_rest_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = TokenBytes(cast(Tokenizer, Counting()), N_VOCAB)
    word = "abc" * 21
    found = vocabulary.sequence_breakers((word,))
    assert Counting.n_encoded == len(word) - 1
    # By definition: a token that ends with the beginning of the word, and the tokenizer's encoding of the rest.
    expected: dict[int, set[tuple[int, ...]]] = {}
    for i in range(1, len(word)):
        rest = tuple(Letters().encode(word[i:]))
        for token, piece in enumerate(PIECES):
            if piece.endswith(word[:i].encode()):
                expected.setdefault(token, set()).add(rest)
    assert found == expected


def test_an_incomplete_breaker_is_not_compared_with_the_whole_history() -> None:
    """After the first token of a breaker, only as many tokens are compared as the rest has."""
    taken: list[int] = []

    class Ids(np.ndarray):
        def __getitem__(self, at):
            found = super().__getitem__(at)
            taken.append(np.size(found))
            return found

    dry = Dry(1.0, 2.0, 1, {1: {(2, 3)}}, N_VOCAB)
    history = np.ones(3000, np.int32).view(Ids)
    assert dry._limit(history) == 3000
    assert sum(n for n in taken if n > 1) <= 3 * 3000


def test_a_possible_start_of_a_stop_string_is_found_by_bisection() -> None:
    class Stop(str):
        n_asked = 0
        __slots__ = ()

        def startswith(self, *args):
            Stop.n_asked += 1
            return super().startswith(*args)

    stream = StopFilter([Stop(f"{i:05d}abcdefgh") for i in range(1000)])
    assert stream.push("some text 0042") == ("some text ", None)
    assert Stop.n_asked <= len("some text 0042")
    assert stream.push("0abcdefgh!") == ("", "00420abcdefgh")


@pytest.mark.parametrize(
    ("sampler", "kernel"), [(LogitBias(((1, 1.0), (3, -2.0))), "bias"), (AllowedTokens((3, 1, 3)), "keep")]
)
def test_the_token_ids_of_a_request_are_converted_once(sampler, kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    inner = getattr(token_filters, kernel)
    monkeypatch.setattr(
        token_filters, kernel, lambda candidates, ids, *more: (given.append(ids), inner(candidates, ids, *more))
    )
    for _ in range(2):
        apply(np.zeros(5, np.float32), sampler, history=[])
    assert given[0] is given[1]


@pytest.mark.parametrize("name", STRINGS)
def test_strings_have_limits(name: str) -> None:
    most, longest = STRINGS[name]
    SamplingParams(**{name: ["x" * longest]})
    with pytest.raises(ParameterError, match=f"{name}=.*: must be strings of at most {longest} characters, not of"):
        SamplingParams(**{name: ["x" * (longest + 1)]})
    SamplingParams(**{name: ["x"] * most})
    with pytest.raises(ParameterError, match=f"{name}=.*: must be at most {most} strings, not {most + 1}"):
        SamplingParams(**{name: ["x"] * (most + 1)})


def test_the_order_of_samplers_has_a_limit() -> None:
    SamplingParams(samplers=["top_k"] * MAX_SAMPLERS)
    with pytest.raises(ParameterError, match=f"samplers=.*: must be at most {MAX_SAMPLERS} samplers"):
        SamplingParams(samplers=["top_k"] * (MAX_SAMPLERS + 1))
