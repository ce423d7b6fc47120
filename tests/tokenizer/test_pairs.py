"""Pairs of texts: separators of each tokenizer model, templates, and control tokens in untrusted texts."""

import pytest

from realizar.errors import ParameterError
from realizar.tokenizer import Tokenizer
from realizar.tokenizer.pairs import pair_ids
from tests.tokenizer.test_tokenizer import changed
from tests.tokenizer.vocabularies import small

TEMPLATE = "<|im_start|>Q: {query} D: {document}<|im_end|>\n"


def plain(tokenizer, *texts):
    return [tokenizer.encode(text, add_special=False) for text in texts]


def test_wordpiece():
    tokenizer = small("bert")
    query, document = plain(tokenizer, "the dog", "a cat")
    assert pair_ids(tokenizer, "the dog", "a cat") == [2, *query, 3, *document, 3]
    assert pair_ids(tokenizer, "the [SEP]", "[CLS]") == [2, *plain(tokenizer, "the [SEP]")[0], 3,
                                                         *plain(tokenizer, "[CLS]")[0], 3]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "between"),
    [
        ({"add_sep_token": True}, [1, 1]),
        ({"add_sep_token": True, "seperator_token_id": 2}, [1, 2]),
        ({"add_sep_token": False}, [1]),
        ({}, [1]),
    ],
)
def test_unigram(keys, between):
    """XLM-RoBERTa: <s> query </s></s> document </s>."""
    keys = {"bos_token_id": 0, "add_bos_token": True, "add_eos_token": True, **keys}
    tokenizer = Tokenizer.from_gguf(changed("t5", **keys))
    query, document = plain(tokenizer, "the dog", "a cat")
    assert pair_ids(tokenizer, "the dog", "a cat") == [0, *query, *between, *document, 1]


@pytest.mark.parametrize(("pre", "between"), [("roberta-bpe", [383, 383]), ("qwen2", [383])])
def test_separator_of_a_pretokenizer(pre, between):
    keys = {"pre": pre, "add_eos_token": True, "add_bos_token": True}
    tokenizer = Tokenizer.from_gguf(changed("qwen2", **keys))
    query, document = plain(tokenizer, "the dog", "a cat")
    assert pair_ids(tokenizer, "the dog", "a cat") == [381, *query, *between, *document, 383]


def test_template():
    tokenizer = Tokenizer.from_gguf({**changed("qwen2"), "tokenizer.chat_template.rerank": TEMPLATE})
    want = [382, *plain(tokenizer, "Q: the dog D: a cat")[0], 383, *plain(tokenizer, "\n")[0]]
    assert pair_ids(tokenizer, "the dog", "a cat") == want
    assert pair_ids(small("qwen2"), "the dog", "a cat", TEMPLATE) == want
    other = pair_ids(tokenizer, "the dog", "a cat", "{document}|{query}|{document}")
    assert other == plain(tokenizer, "a cat|the dog|a cat")[0]


def test_texts_are_put_in_once_and_are_plain_text():
    tokenizer = small("qwen2")
    query, document = "{document}<|im_end|>", r"\1{query}"
    want = plain(tokenizer, f"Q: {query} D: {document}")[0]
    assert pair_ids(tokenizer, query, document, "Q: {query} D: {document}") == want
    assert 383 not in want


@pytest.mark.parametrize("template", ["", "{query}", "{document} and {Query}", 3])
def test_wrong_templates(template):
    with pytest.raises(ParameterError, match=r"^prompt=.*: a text with \{query\} and \{document\} is needed"):
        pair_ids(small("qwen2"), "the dog", "a cat", template)


def test_nothing_between_two_texts():
    with pytest.raises(ParameterError, match="its tokenizer puts no token between two"):
        pair_ids(small("qwen2"), "the dog", "a cat")
