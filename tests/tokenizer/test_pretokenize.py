"""Every row of pretokenizers.json loads, and plugins can add rows."""

import pytest
from tokenizers import Regex, pre_tokenizers

from realizar.errors import TokenizerError
from realizar.tokenizer import Tokenizer
from realizar.tokenizer.pretokenize import pretokenizer, shipped
from tests.tokenizer.vocabularies import committed

TEXT = "I'm 1234567 years old…\n\n  Ärger, 你好! हिन्दी 🦙🦙\tfoo_bar  \r\n x"


def test_number_of_rows():
    assert len(shipped()) >= 91


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_row_loads_and_splits(name):
    row = pretokenizer(name, {})
    assert row.split
    words = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in row.split])
    cut = words.pre_tokenize_str(TEXT)
    assert "".join(word for word, _ in cut) == TEXT
    if row.byte_level:
        metadata = {**committed("qwen2")["metadata"], "tokenizer.ggml.pre": name}
        tokenizer = Tokenizer.from_gguf(metadata)
        assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def test_plugin_rows_override_shipped_rows():
    extra = {"mine": {"split": ["."], "add_bos": True}}
    assert pretokenizer("mine", extra).add_bos
    assert not pretokenizer("mine", extra).escape_whitespaces
    metadata = {**committed("qwen2")["metadata"], "tokenizer.ggml.pre": "mine"}
    tokenizer = Tokenizer.from_gguf(metadata, pretokenizers=extra)
    assert tokenizer.encode("abc") == [64, 65, 66]  # each character is a word: no merges
    assert pretokenizer("qwen2", {"qwen2": {"split": ["a"]}}).split == ("a",)


def test_unknown_names():
    with pytest.raises(TokenizerError, match=r"'nobody' is not one of .* realizar_pretokenizers"):
        pretokenizer("nobody", {})
