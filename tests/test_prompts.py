"""Prompts of parts: validation, support by the model, and sampling after rows without a token."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import realizar
from realizar import LLM, Embeddings, SamplingParams, Tokens, loaded
from realizar.errors import ParameterError
from realizar.params.per_prompt import as_prompts
from tests.engine.fake import FULL, N_EMBD, FakeModel, expected, symbol

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True)
ROWS = np.array([[i] * N_EMBD for i in (3, 1, 2)], np.float32)
PICTURE = Embeddings(ROWS)
SYMBOLS = [symbol(row) for row in ROWS]


@pytest.fixture
def model(monkeypatch):
    model = FakeModel(FULL)
    monkeypatch.setattr(loaded, "load_model", lambda path, mode, has_draft: model)
    monkeypatch.setattr(loaded.store, "resolve", lambda name: name)
    return model


@pytest.fixture
def llm(model):
    with LLM("made-up", n_threads=2, n_ctx=128, n_batch=32) as llm:
        yield llm


def answer(rows, n=6, allowed=lambda logits, tokens: logits):
    """Return the result of greedy decoding after these rows."""
    rows, found = list(rows), []
    for _ in range(n):
        found.append(int(allowed(expected(FULL, rows), found).argmax()))
        rows.append(found[-1])
    return found


# ---- parts


def test_parts_are_copied():
    rows, positions = np.ones((2, 4)), np.array([[0, 5]])
    part = Embeddings(rows, positions)
    rows[:], positions[:] = 7, 7
    assert part.rows.tolist() == [[1] * 4] * 2
    assert part.positions.tolist() == [[0, 5]]
    assert (part.rows.dtype, part.positions.dtype) == (np.float32, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        part.rows[0, 0] = 2
    assert Tokens(np.array([1, 2])).ids == (1, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64])
def test_rows_of_any_real_type(dtype):
    assert Embeddings(np.array([[1, 2]], dtype)).rows.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embeddings(np.zeros(3)), r"rows must have shape \[n, n_embd\], neither of them 0; found \[3\]"),
        (lambda: Embeddings(np.zeros((0, 3))), r"neither of them 0; found \[0, 3\]"),
        (lambda: Embeddings([[1.0], [1.0, 2.0]]), r"rows must be an array \[n, n_embd\]"),
        (lambda: Embeddings("text"), r"rows must be float32 \[n, n_embd\], found <U4 \[\]"),
        (lambda: Embeddings(np.zeros((1, 2), complex)), "found complex128"),
        (lambda: Embeddings(np.zeros((1, 2), bool)), "found bool"),
        (lambda: Embeddings([[1.0, np.nan]]), r"rows\[0, 1\] is nan in float32; it must be finite"),
        (lambda: Embeddings([[1.0], [-np.inf]]), r"rows\[1, 0\] is -inf"),
        (lambda: Embeddings(np.array([[1e39]])), r"rows\[0, 0\] is inf in float32"),
        (
            lambda: Embeddings(ROWS, np.zeros(3, int)),
            r"positions must be integers of shape \[k, 3\].*found int64 \[3\]",
        ),
        (lambda: Embeddings(ROWS, np.zeros((1, 2), int)), r"found int64 \[1, 2\]"),
        (lambda: Embeddings(ROWS, np.zeros((0, 3), int)), r"found int64 \[0, 3\]"),
        (lambda: Embeddings(ROWS, np.zeros((1, 3))), r"found float64 \[1, 3\]"),
        (lambda: Embeddings(ROWS, [[0], [1, 2]]), r"positions must be an array \[k, 3\]"),
        (lambda: Embeddings(ROWS, [[0, 1, -1]]), r"positions must be in \[0, 2147483647\], found -1 to 1"),
        (lambda: Embeddings(ROWS, [[0, 1, 2**31]]), "found 0 to 2147483648"),
        (lambda: Embeddings(ROWS, key="cat"), "key must be bytes, found 'cat'"),
        (lambda: Embeddings(ROWS, mask="both"), "mask='both': must be 'causal' or 'bidirectional'"),
        (lambda: Tokens([1], mask=None), "mask=None: must be 'causal' or 'bidirectional'"),
        (lambda: Tokens([]), "there are no ids; omit the part"),
        (lambda: Tokens("abc"), "ids of Tokens must be a list of token ids, not 'abc'"),
        (lambda: Tokens([1.5]), r"must be a list of token ids, not \[1.5\]"),
    ],
)
def test_invalid_parts(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


@pytest.mark.parametrize("error", [RuntimeError, TypeError])
def test_tensors_that_do_not_become_arrays(error):
    """PyTorch raises these for tensors with gradients or on a GPU."""

    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise error("use tensor.detach().cpu() first")

    for make in (lambda: Embeddings(Tensor()), lambda: Embeddings(ROWS, Tensor())):
        with pytest.raises(ParameterError, match=r"must be an array .*; use tensor.detach\(\).cpu\(\) first"):
            make()


def test_one_prompt_of_parts_or_several_prompts():
    part = Tokens([1])
    assert as_prompts([part, "text"]) == [[part, "text"]]
    assert as_prompts(("text", PICTURE)) == [["text", PICTURE]]
    assert as_prompts(["a", "b"]) == ["a", "b"]
    assert as_prompts([[part], "b", [1, 2]]) == [[part], "b", [1, 2]]
    assert as_prompts(part) == [part]
    assert {"Tokens", "Embeddings"} <= set(realizar.__all__)


# ---- support by the model


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([Tokens([1, 32])], "token id 32 does not exist: the model has ids 0 to 31"),
        ([Tokens([-1])], "token id -1 does not exist"),
        ([PICTURE, [1, 2]], r"a part of a prompt is text, Tokens or Embeddings, not \[1, 2\]"),
        ([PICTURE, None], "a part of a prompt is text, Tokens or Embeddings, not None"),
        ([Embeddings([[1, 2]])], "rows of 2 numbers, but n_embd of this model is 3"),
        ([Embeddings(ROWS, np.ones((2, 3), int))], "positions have 2 axes, but those of fake have 3"),
        ([Tokens([1] * 33, "bidirectional")], r"a bidirectional part of 33 rows.*n_batch=32; ask for n_batch=33"),
        ([PICTURE] * 43, "129 tokens do not fit into the context of 128"),
    ],
)
def test_parts_that_do_not_fit_the_model(llm, prompt, message):
    for ask in (llm.generate, llm.stream, llm.logits, lambda prompt: llm.score(prompt, [1])):
        with pytest.raises((ParameterError, realizar.errors.ContextFullError), match=message):
            ask(prompt)


@pytest.mark.parametrize(
    ("graph", "prompt", "message"),
    [
        ({"inputs": ("tokens", "positions")}, [PICTURE], "fake takes none; it reads tokens, positions"),
        (
            {"inputs": ("tokens", "embeddings")},
            [Embeddings(ROWS, [[0, 0, 0]])],
            "positions were given, but fake uses none",
        ),
        ({"nodes": []}, [Tokens([1, 2], "bidirectional")], "fake has no attention; leave it at 'causal'"),
    ],
)
def test_parts_that_the_program_does_not_support(llm, model, monkeypatch, graph, prompt, message):
    fields = {**vars(model.graphs["decode"]), **graph}
    monkeypatch.setattr(FakeModel, "graphs", {"decode": SimpleNamespace(**fields)})
    with pytest.raises(ParameterError, match=message):
        llm.generate(prompt, GREEDY)


def test_text_among_parts(llm):
    """Text at any place among the parts; empty text adds no tokens."""
    rows = [1, 2, *SYMBOLS, 3, 4]
    for prompt in (["ab", PICTURE, "cd"], [Tokens([1, 2]), PICTURE, "", "c", Tokens([4])], ("ab", PICTURE, "cd")):
        assert llm.generate(prompt, GREEDY)[0].token_ids == answer(rows)
    several = llm.generate([["ab", PICTURE, "cd"], "abc", [PICTURE]], GREEDY)
    assert [found.token_ids for found in several] == [answer(rows), answer([1, 2, 3]), answer(SYMBOLS)]
    assert "".join(llm.stream([PICTURE], GREEDY)) == llm.generate([PICTURE], GREEDY)[0].text
    assert llm.generate(PICTURE, GREEDY)[0].token_ids == answer(SYMBOLS)


def test_special_tokens_enclose_all_parts(llm, model):
    model.tokenizer.ids_before, model.tokenizer.ids_after = (29,), (30,)
    cases = {
        ("ab", PICTURE, "cd"): [29, 1, 2, *SYMBOLS, 3, 4, 30],
        ("ab", Tokens([3])): [29, 1, 2, 3],
        (PICTURE, "ab"): [*SYMBOLS, 1, 2, 30],
        ("", PICTURE, ""): [29, *SYMBOLS, 30],
        (Tokens([1]), "b", Tokens([3])): [1, 2, 3],
        "ab": [29, 1, 2, 30],
    }
    for prompt, rows in cases.items():
        assert llm.generate(prompt, GREEDY)[0].token_ids == answer(rows)


@pytest.mark.parametrize("continuation", ["bc", [2, 3]])
@pytest.mark.parametrize("prompt", ["ab", [Tokens([29, 1]), "b"]], ids=["text", "parts"])
def test_a_continued_prompt_ends_without_special_tokens(llm, model, prompt, continuation):
    model.tokenizer.ids_before, model.tokenizer.ids_after = (29,), (30,)
    model.tokenizer.encode = lambda text, add_special=True, parse_special=False: [
        *([29] if add_special else []), *(ord(c) - 96 for c in text), *([30] if add_special else [])
    ]  # fmt: skip
    score, want = llm.score(prompt, continuation), llm.score([29, 1, 2], [2, 3])
    assert score.logprobs[: len(want.logprobs)] == want.logprobs


def test_logits_and_scores(llm):
    rows = [1, *SYMBOLS, 2]
    np.testing.assert_array_equal(llm.logits(["a", PICTURE, "b"]), [expected(FULL, rows, at=i) for i in range(5)])
    score = llm.score(["a", PICTURE], "bc")
    assert score.token_ids == [2, 3]
    want = [expected(FULL, rows, at=3), expected(FULL, rows, at=4)]
    want = [x[token] - np.log(np.exp(x.astype(float)).sum()) for x, token in zip(want, (2, 3), strict=True)]
    np.testing.assert_allclose([sampled.logprob for sampled in score.logprobs], want, atol=1e-5)


# ---- rows without a token


def test_penalties_ignore_embeddings(llm):
    """Rows of embeddings have token 0 as a placeholder, which is not penalized."""
    rows = [*SYMBOLS, 5]

    def penalized(logits, tokens):
        logits = logits.copy()
        logits[list({5, *tokens})] -= 100
        return logits

    params = replace(GREEDY, presence_penalty=100.0, penalty_last_n=-1, max_tokens=20)
    found = llm.generate([PICTURE, Tokens([5])], params)[0].token_ids
    assert found == answer(rows, 20, penalized)
    assert 0 in found  # otherwise the test would prove nothing


def test_samplers_see_only_tokens(llm):
    seen = []

    def sampler(logits, histories):
        seen.extend(history.tolist() for history in histories)

    found = llm.generate(
        [Tokens([4]), PICTURE, Tokens([5])], replace(GREEDY, samplers=(sampler, "temperature"), max_tokens=2)
    )[0]
    assert seen == [[4, 5], [4, 5, found.token_ids[0]]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"echo": True}, "echo: some rows of the prompt are embeddings, which have no text"),
        ({"prompt_logprobs": 1}, "prompt_logprobs: rows of the prompt that are embeddings"),
        ({"token_healing": True}, "token_healing: the prompt ends with embeddings"),
        ({"context_shift": True}, "context_shift: the prompt has embeddings"),
        ({"truncate_prompt": 2}, "truncate_prompt=2: the prompt has 4 rows"),
        ({"cfg_scale": 2.0}, "ends with embeddings; give a negative_prompt"),
    ],
)
def test_features_that_need_all_tokens_of_the_prompt(llm, fields, message):
    with pytest.raises(ParameterError, match=message):
        llm.generate([Tokens([1]), PICTURE], replace(GREEDY, **fields))


def test_features_that_need_only_some_tokens(llm):
    parts, rows = [Tokens([1]), PICTURE, Tokens([2])], [1, *SYMBOLS, 2]
    assert llm.generate(parts, replace(GREEDY, truncate_prompt=5))[0].token_ids == answer(rows)
    span = [Tokens([1, 2, 3], "bidirectional"), Tokens([4])]
    assert llm.generate(span, replace(GREEDY, echo=True))[0].text.startswith("abcd")
    assert llm.generate([PICTURE, Tokens([1, 2])], replace(GREEDY, token_healing=True))[0].text.startswith("b")


def test_no_drafts_directly_after_embeddings(model):
    with LLM("made-up", n_threads=2, n_ctx=128, speculate="ngram") as llm:
        params = replace(GREEDY, max_tokens=40)
        found = llm.generate([[PICTURE, Tokens([2])], [Tokens([2] * 3, "bidirectional"), Tokens([2])]], params)
        assert found[0].token_ids == answer([*SYMBOLS, 2], 40)
        request = llm.engine.generate([PICTURE], params)
        assert request.answers[0].drafter is None
        request.cancel()
        request = llm.engine.generate([Tokens([1, 2], "bidirectional")], params)
        assert request.answers[0].drafter is not None
        request.cancel()
