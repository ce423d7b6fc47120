"""Without sentencepiece (wheels for musl): the same ids by `tokenizers`, or an error that names the package."""

import random
import sys

import pytest

from realizar.errors import MissingExtraError
from realizar.gguf import GGUFFile
from realizar.tokenizer import Tokenizer
from tests.shared import needs_shared
from tests.tokenizer.vocabularies import SEPARATOR, VECTORS, committed, of_file, small


@pytest.fixture
def no_sentencepiece(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)


def tokenizer_of(path):
    with GGUFFile(path) as file:
        tokenizer = Tokenizer.from_gguf(file.metadata)
        tokenizer.encode("")
    return tokenizer


def texts_of_tokens(tokens, n):
    """Random texts of tokens, of characters with and without a token, and of runs."""
    rng = random.Random(5)
    characters = "aab  \n\t=-Größe 🦙日本\u00a0"
    for _ in range(n):
        pieces = [rng.choice(tokens).replace("▁", " "), rng.choice(characters) * rng.randrange(30)]
        yield "".join(rng.choice(pieces) + rng.choice(characters) for _ in range(rng.randrange(1, 12)))


def test_the_examples_of_a_vocabulary(no_sentencepiece):
    tokenizer = Tokenizer.from_gguf(committed("llama")["metadata"])
    for example in committed("llama")["examples"]:
        assert tokenizer.encode(example["text"], parse_special=True) == example["ids"]


def test_random_texts_of_a_vocabulary(monkeypatch):
    theirs = small("llama")
    theirs.encode("")  # built with sentencepiece
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    ours = Tokenizer.from_gguf(committed("llama")["metadata"])
    assert type(ours._encoder()) is not type(theirs._encoder())
    for text in texts_of_tokens(committed("llama")["metadata"]["tokenizer.ggml.tokens"], 3000):
        assert ours.encode(text) == theirs.encode(text), repr(text)


@needs_shared
@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_random_texts_and_published_vectors_of_real_vocabularies(name, monkeypatch):
    path = VECTORS / f"ggml-vocab-{name}.gguf"
    theirs = of_file(path)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    ours = tokenizer_of(path)
    published = (VECTORS / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode().split(SEPARATOR)
    for text in [*published, *texts_of_tokens(theirs.tokens, 2000)]:
        assert ours.encode(text) == theirs.encode(text), repr(text)


def test_a_vocabulary_with_a_character_map_names_the_package(no_sentencepiece):
    metadata = committed("t5")["metadata"] | {"tokenizer.ggml.precompiled_charsmap": [0, 0, 0, 0]}
    tokenizer = Tokenizer.from_gguf(metadata)
    with pytest.raises(MissingExtraError, match=r"precompiled_charsmap: .*pip install sentencepiece"):
        tokenizer.encode("a")


def test_unigram_without_normalization_does_not_need_it(no_sentencepiece):
    metadata = dict(committed("t5")["metadata"])
    metadata.pop("tokenizer.ggml.precompiled_charsmap", None)
    metadata["tokenizer.ggml.remove_extra_whitespaces"] = False
    plain = Tokenizer.from_gguf(metadata)
    assert plain.decode(plain.encode("the cat")) == "the cat"
