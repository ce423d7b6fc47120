"""Tokenizer models that few files have: rwkv, none, and gpt2 without a byte-level pre-tokenizer."""

import pytest

from realizar import LLM, SamplingParams
from realizar.arch import registry
from realizar.errors import TokenizerError
from realizar.testing import tiny_metadata, tiny_model
from realizar.tokenizer import Tokenizer
from tests.tokenizer.vocabularies import committed

WORLD = (
    "<s>", *(f"\\x{byte:02x}" for byte in range(256)), *(f"\\{c}" for c in "tnr\\"), *"abcd'", "ab", "abcd", "你",
    "\\xe4\\xbd", "[PAD]",
)  # fmt: skip


def world(**changes):
    """Return a vocabulary like RWKV's: bytes, some of them twice under other spellings, and longer tokens."""
    types = [3] + [1] * (len(WORLD) - 2) + [5]
    metadata = {"model": "rwkv", "tokens": list(WORLD), "token_type": types, "bos_token_id": 0, "eos_token_id": 0}
    return Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in {**metadata, **changes}.items()})


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("abcab", ["ab", "c", "ab"]),
        ("abcdd", ["abcd", "d"]),
        ("a\tb\\\r\n", ["a", "\\t", "b", "\\\\", "\\r", "\\n"]),
        ("你佐", ["你", "\\xe4\\xbd", "\\x90"]),
        ("'[PAD]", ["'", *(f"\\x{byte:02x}" for byte in b"[PAD]")]),
        ("<s>", [f"\\x{byte:02x}" for byte in b"<s>"]),
        ("", []),
    ],
)
def test_rwkv_takes_the_longest_token(text, tokens):
    tokenizer = world()
    assert tokenizer.encode(text) == [WORLD.index(token) for token in tokens]
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_rwkv_reads_control_tokens_in_trusted_text_only():
    assert world().encode("ab<s>", parse_special=True) == [WORLD.index("ab"), 0]


def test_rwkv_without_a_token_for_a_byte():
    few = {"tokens": ["<s>", "a", "aé", "?"], "token_type": [3, 1, 1, 1]}
    assert world(**few, unknown_token_id=3).encode("aéé") == [2, 3, 3]
    with pytest.raises(TokenizerError, match="no token for the byte 0xc3 at byte 1 of the text, and no unknown token"):
        world(**few).encode("aê")


@pytest.mark.parametrize("model", ["none", "no_vocab"])
def test_no_vocabulary(model):
    metadata = {"general.architecture": "llama", "llama.vocab_size": 7, "tokenizer.ggml.model": model}
    tokenizer = Tokenizer.from_gguf(metadata)
    assert (tokenizer.n_vocab, tokenizer.eog_ids, tokenizer.bos_id) == (7, frozenset(), None)
    assert (tokenizer.decode([0, 6]), tokenizer.token_bytes(3), tokenizer.encode("")) == ("", b"", [])
    with pytest.raises(TokenizerError, match="no vocabulary, so it cannot read text; pass a list of token ids"):
        tokenizer.encode("a")
    with pytest.raises(TokenizerError, match="ids 0 to 6"):
        tokenizer.decode([7])


@pytest.mark.parametrize("pre", ["granite-embed-multi-311m", "sarvam-moe", "gemma4"])
def test_pretokenizers_that_are_not_byte_level(pre):
    """The vocabulary of Gemma 4 as the model gpt2: BOS is added only where the file says so."""
    examples, metadata = committed("gemma4")["examples"], dict(committed("gemma4")["metadata"])
    metadata |= {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.add_bos_token": False}
    tokenizer = Tokenizer.from_gguf(metadata)
    for example in examples:
        bos, *ids = example["ids"]
        assert bos == tokenizer.bos_id
        assert tokenizer.encode(example["text"], parse_special=True) == ids
        assert tokenizer.decode(ids, skip_special=False) == example["text"]


def test_a_model_without_vocabulary_continues_token_ids(tmp_path):
    metadata = {**tiny_metadata("llama"), "tokenizer.ggml.model": "none"}
    with tiny_model(registry.default().architecture("llama"), metadata, "Q8_0", tmp_path) as model:
        path = model.file.path
    with LLM(path) as llm:
        (completion,) = llm.generate([1, 2, 3], SamplingParams(temperature=0, max_tokens=4))
        assert (len(completion.token_ids), completion.text) == (4, "")
        with pytest.raises(TokenizerError, match="pass a list of token ids"):
            llm.generate("abc")
