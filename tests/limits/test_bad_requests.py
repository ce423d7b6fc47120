"""Prompts, parameters and arguments of every kind: a completion, or a RealizarError of one line with the reason."""

import math

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.cli import main
from realizar.errors import ContextFullError, ParameterError, RealizarError, TokenizerError
from tests.limits.models import LLAMA, TEMPLATE, rewritten

THINGS = [
    None, True, 0, 1, -1, 3, 2**31, 2**63, 2**70, -(2**70), 0.5, math.nan, math.inf, -math.inf, "", "x", "f16", b"x",
    "\ud800", "a\0b", [], [1], ["a"], [None], [[1]], [[]], [-1], [10**6], [2**40], [1.0], [1, "a"], ["\ud800"], (), {},
    {"a": 1}, {1, 2}, object(), int, 1j, range(3), np.int64(3), np.float32(0.5), np.array(3), np.array([1, 2]),
    np.array([1.5]), np.array([]), np.zeros((2, 2), int), np.array(["a"]), np.bool_(True), lambda: 0,
]  # fmt: skip
SHORT = SamplingParams(max_tokens=2)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    target = tmp_path_factory.mktemp("model") / "model.gguf"
    return rewritten(LLAMA, target, {"tokenizer.chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def llm(path):
    with LLM(path, n_threads=1, n_ctx=64) as llm:
        yield llm
        assert llm.generate("Still there?", SHORT)[0].token_ids


def answers(ask, *arguments, **named):
    """Return the result of a call; None if it failed with a RealizarError of one readable line."""
    try:
        return ask(*arguments, **named)
    except RealizarError as error:
        says = str(error)
    assert says.isprintable(), repr(says)
    assert 10 < len(says) < 500
    return None


@pytest.mark.parametrize("name", ["n_threads", "n_ctx", "n_seqs", "n_batch", "kv_type", "activations", "load"])
def test_arguments_of_a_model(path, name):
    for thing in THINGS:
        made = answers(LLM, path, **{name: thing})
        if made is not None:
            made.close()


def test_names_of_a_model():
    for thing in THINGS:
        assert answers(LLM, thing) is None


@pytest.mark.parametrize("name", SamplingParams.__dataclass_fields__)
def test_sampling_params(llm, name):
    for thing in THINGS:
        params = answers(SamplingParams, **{"max_tokens": 2, name: thing})
        if params is not None:
            answers(llm.generate, [1, 2, 3], params)


@pytest.mark.parametrize(
    "method", ["generate", "stream", "logits", "tokenize", "detokenize", "chat", "score", "infill"]
)
def test_arguments_of_methods(llm, method):
    ask = getattr(llm, method)
    for thing in THINGS:
        more = {"generate": [SHORT], "stream": [SHORT], "chat": [SHORT], "score": ["a"], "infill": ["a"]}.get(
            method, []
        )
        found = answers(ask, thing, *more)
        if method == "stream" and found is not None:
            answers(list, found)


def test_continuations(llm):
    for thing in THINGS:
        answers(llm.score, "a", thing)
        answers(llm.score, "a", ["b", thing])
        answers(llm.score, "a", "b", thing)


def test_params_that_are_none(llm):
    for thing in THINGS:
        answers(llm.generate, [1, 2], thing)
        assert answers(llm.stream, [1, 2], thing) is None


def test_messages(llm):
    for thing in THINGS:
        for key in ("role", "content"):
            answers(llm.chat, [{"role": "user", "content": "x", key: thing}], SHORT)
        answers(llm.generate, [[1], thing], SHORT)
        answers(llm.generate, ["a", thing], SHORT)


def test_error_messages(llm):
    n_vocab = llm.tokenizer.n_vocab
    cases = [
        ([[]], ParameterError, "the prompt has no tokens"),
        ([n_vocab], ParameterError, f"token id {n_vocab} does not exist: the model has ids 0 to {n_vocab - 1}"),
        ([-1], ParameterError, "token id -1 does not exist"),
        ([1] * 65, ContextFullError, "65 tokens do not fit into the context of 64"),
        ("long " * 200, ContextFullError, "do not fit into the context of 64"),
        ("\udc80", TokenizerError, "a lone surrogate"),
        (b"bytes", RealizarError, "a prompt is text or a list of token ids"),
    ]
    for prompt, error, says in cases:
        with pytest.raises(error, match=says):
            llm.generate(prompt, SHORT)
        if not isinstance(prompt, (str, bytes)) and prompt != [[]]:
            with pytest.raises(error, match=says):
                llm.logits(prompt)
    with pytest.raises(ParameterError, match="the prompt has no tokens"):
        llm.logits([])
    with pytest.raises(ParameterError, match="temperature=nan: must be a number >= 0"):
        SamplingParams(temperature=math.nan)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "", "--raw"], None),  # a single BOS is a valid prompt
        (["run", "long " * 200, "--n-ctx", "64"], "do not fit into the context of 64"),
        (["run", "x\udcff"], "the text is not UTF-8"),
        (["run", "x", "--temperature", "nan"], "temperature=nan"),
        (["run", "x", "--top-p", "2"], "top_p=2.0: must be a number in"),
        (["run", "x", "-n", "0"], "max_tokens=0"),
        (["run", "x", "-t", "0"], "n_threads=0"),
        (["run", "x", "--n-ctx", "99999999999"], "n_ctx=99999999999"),
        (["run", "x", "--kv-type", "f8"], "f8"),
        (["tokenize", "x\udcff"], "the text is not UTF-8"),
    ],
)
def test_the_command_line(path, words, says, capsys):
    status = main([*words, "-m", str(path)])
    out, err = capsys.readouterr()
    if says is None:
        assert status == 0
        assert err == ""
    else:
        assert status == (2 if "=" in says or says == "f8" else 1)
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert says in err


@pytest.mark.parametrize("command", [["inspect"], ["run", "x", "-m"], ["tokenize", "x", "-m"], ["bench"]])
def test_damaged_files_on_the_command_line(tmp_path, command, capsys):
    good, path = LLAMA.read_bytes(), tmp_path / "cut.gguf"
    for i in (0, 1, 5, 32, 63):
        path.write_bytes(good[: len(good) * i // 64])
        assert main([*command, str(path)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "cut.gguf" in err
        assert "a bug in realizar" not in err
