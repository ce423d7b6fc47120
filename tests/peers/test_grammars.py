"""GBNF compared with llama.cpp: its published grammars allow the same tokens at each position of some texts.

Five of them are constants of llama-cpp-python; REALIZAR_GBNF may name the source folder of llama.cpp with all.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realizar.sampling.grammar import Constraint, ConstraintFactory
from realizar.tokenizer import Tokenizer
from tests.tokenizer.vocabularies import of_file, real

lib = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra: peers)")
from llama_cpp import llama_grammar  # noqa: E402  (after the check that it is installed)

PATH = real("smollm2")
QUIET = lib.llama_log_callback(lambda *_: None)  # llama.cpp keeps a pointer to it
# Name of a grammar file of llama.cpp -> texts that match it.
TEXTS = {
    "arithmetic": ["x= 1\n", "(a +b)*2= 3\n", "1+2*(3-z)= y\nq= 1\n"],
    "c": ["int main(){x = 1;return x;}", "float f(int x){while(x<=3){x = x+1;}//end\nreturn x;}"],
    "chess": ["1. e4 e5\n2. Nf3 Nc6\n10. O-O Qxd5+\n", "1. d4 d5\n2. c4 c6\n"],
    "japanese": ["日本", "こんにちは 日本語、テスト\nカタカナ"],
    "english": ["Hi there, you!"],
    "json": ['{"a": [1, -2.5e3, "\\u00e9\\n", null], "żó": {"": true}}', '{"text": "some words, \\"quoted\\""}'],
    "json_arr": ['[\n1,\n"x"]', "[\n]"],
    "list": ["- one\n- two words\n", "- x\n"],
}


class Peer:
    """A grammar in llama.cpp; `allowed` and `advance` correspond to mask and advance of a Constraint."""

    def __init__(self, vocab: Any, grammar: str) -> None:
        self._sampler = lib.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
        assert self._sampler

    def allowed(self, ids: list[int]) -> set[int]:
        """Return the tokens among `ids` that may come next."""
        data = (lib.llama_token_data * len(ids))(*((i, 0.0, 0.0) for i in ids))
        candidates = lib.llama_token_data_array(data, len(ids), -1, False)
        lib.llama_sampler_apply(self._sampler, ctypes.byref(candidates))
        return {data[i].id for i in range(candidates.size) if data[i].logit == 0.0}

    def advance(self, token: int) -> None:
        lib.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        lib.llama_sampler_free(self._sampler)


@pytest.fixture(scope="module")
def vocab() -> Iterator[Any]:
    if not PATH.is_file():
        pytest.skip(f"the default model is not in the cache ({PATH})")
    params = lib.llama_model_default_params()
    params.vocab_only = True
    lib.llama_log_set(QUIET, ctypes.c_void_p(0))
    model = lib.llama_model_load_from_file(str(PATH).encode(), params)
    yield lib.llama_model_get_vocab(model)
    lib.llama_model_free(model)


@pytest.fixture(scope="module")
def tokenizer(vocab: Any) -> Tokenizer:
    return of_file(PATH)


@pytest.fixture(scope="module")
def factory(tokenizer: Tokenizer) -> ConstraintFactory:
    return ConstraintFactory(tokenizer)


def allowed(constraint: Constraint) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")).tolist())


def published(name: str) -> str:
    if folder := os.environ.get("REALIZAR_GBNF"):
        return Path(folder, f"{name}.gbnf").read_text(encoding="utf-8")
    if name not in ("arithmetic", "c", "json", "json_arr", "list"):  # other constants equal that of JSON
        pytest.skip("REALIZAR_GBNF does not name the folder of llama.cpp's grammars, and its Python package lacks this")
    grammar: str = getattr(llama_grammar, f"{name.upper()}_GBNF")
    return grammar


def is_whole(token: bytes) -> bool:
    """Return whether a token is valid UTF-8 without NUL: llama.cpp refuses incomplete characters and stops at NUL."""
    try:
        return "\0" not in token.decode()
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("name", TEXTS)
def test_the_same_tokens_are_allowed_at_each_position(
    name: str, vocab: Any, tokenizer: Tokenizer, factory: ConstraintFactory
) -> None:
    everything = [i for i in range(tokenizer.n_vocab) if not tokenizer.is_hidden(i) or i in tokenizer.eog_ids]
    ours, theirs = factory.grammar(published(name)), Peer(vocab, published(name))
    for token in [*tokenizer.encode(TEXTS[name][0], add_special=False), min(tokenizer.eog_ids)]:
        found, expected = allowed(ours), theirs.allowed(everything)
        assert token in expected
        assert expected <= found
        assert [tokenizer.token_bytes(i) for i in found - expected if is_whole(tokenizer.token_bytes(i))] == []
        if token not in tokenizer.eog_ids:
            ours.advance(token)
            theirs.advance(token)
    theirs.close()


def mutated(text: str, rng: np.random.Generator) -> str:
    """Delete, insert or double a character, swap two, or truncate."""
    i, j = sorted(rng.integers(0, len(text), 2).tolist())
    return [
        text[:i] + text[i + 1 :], text[:i] + chr(int(rng.integers(32, 127))) + text[i:], text[: i + 1] + text[i:],
        text[:i] + text[j] + text[i + 1 : j] + text[i] + text[j + 1 :], text[:j],
    ][int(rng.integers(5))]  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_mutated_texts_are_refused_where_llama_cpp_refuses_them(
    name: str, vocab: Any, tokenizer: Tokenizer, factory: ConstraintFactory
) -> None:
    rng, start = np.random.default_rng(0), factory.grammar(published(name))
    refused = 0
    for text in [mutated(text, rng) for text in TEXTS[name] for _ in range(40)]:
        ours, theirs = start.reset_copy(), Peer(vocab, published(name))
        for token in [*tokenizer.encode(text, add_special=False), min(tokenizer.eog_ids)]:
            expected = bool(theirs.allowed([token]))
            assert (token in allowed(ours)) == expected, (text, tokenizer.decode([token]))
            if not expected:
                refused += 1
                break
            ours.advance(token)
            theirs.advance(token)
        theirs.close()
    assert refused >= 3
