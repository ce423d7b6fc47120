"""Prompts for filling in: which tokens mark the parts, in which order, and how the texts between them are spelled."""

import pytest

from realizar.errors import ParameterError, TokenizerError
from realizar.tokenizer import Tokenizer
from tests.tokenizer.test_tokenizer import changed
from tests.tokenizer.vocabularies import committed, small

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def with_tokens(name, *texts, **changes):
    """A committed vocabulary with control tokens of these texts at its end, and their ids."""
    metadata = committed(name)["metadata"]
    tokens, types = (metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
    more = {"tokens": [*tokens, *texts], "token_type": [*types, *[3] * len(texts)]}
    if "tokenizer.ggml.scores" in metadata:
        more["scores"] = [*metadata["tokenizer.ggml.scores"], *[0.0] * len(texts)]
    n = len(tokens)
    return Tokenizer.from_gguf(changed(name, **more, **changes)), *range(n, n + len(texts))


def test_orders():
    tokenizer, pre, suf, mid = with_tokens("qwen2", *QWEN)
    a, b = (tokenizer.encode(text, add_special=False) for text in ("the cat", " sat"))
    assert tokenizer.infill("the cat", " sat") == [pre, *a, suf, *b, mid]
    assert tokenizer.infill("the cat", " sat", "psm") == [pre, *a, suf, *b, mid]
    assert tokenizer.infill("the cat", " sat", "spm") == [suf, *b, pre, *a, mid]
    assert tokenizer.infill("", "") == [pre, suf, mid]


def test_keys_go_before_names():
    tokenizer, pre, suf, mid, other = with_tokens("qwen2", *QWEN, "other")
    assert tokenizer.infill("", "") == [pre, suf, mid]
    named, *_ = with_tokens("qwen2", *QWEN, "other", fim_pre_token_id=other)
    assert named.infill("", "") == [other, suf, mid]
    older, *_ = with_tokens("qwen2", *QWEN, "other", suffix_token_id=other)
    assert older.infill("", "") == [pre, other, mid]


@pytest.mark.parametrize("names", [("[PREFIX]", "[SUFFIX]", "[MIDDLE]"), ("a_prefix", "a_suffix", "a_middle")])
def test_without_a_middle_the_suffix_is_first(names):
    """As Codestral: by Mistral's names, or by keys that leave the middle out."""
    n = len(committed("qwen2")["metadata"]["tokenizer.ggml.tokens"])
    keys = {"fim_pre_token_id": n, "fim_suf_token_id": n + 1} if names[0] == "a_prefix" else {}
    tokenizer, pre, suf, _ = with_tokens("qwen2", *names, **keys)
    a = tokenizer.encode("the", add_special=False)
    assert tokenizer.infill("the", "the") == [suf, *a, pre, *a]
    assert tokenizer.infill("the", "the", "spm") == [suf, *a, pre, *a]
    with pytest.raises(ParameterError, match="no token for the middle"):
        tokenizer.infill("the", "the", "psm")


def test_a_suffix_goes_on_where_a_prefix_begins():
    tokenizer, pre, suf, mid = with_tokens("llama", "▁<PRE>", "▁<SUF>", "▁<MID>")
    word, rest = tokenizer.encode("the", add_special=False), tokenizer.encode("the", add_special=False)
    assert tokenizer.decode(rest) == "the"
    ids = tokenizer.infill("the", "the")
    assert ids[:2] == [tokenizer.bos_id, pre]
    assert ids[2 : ids.index(suf)] == word
    spelled = b"".join(map(tokenizer.token_bytes, ids[ids.index(suf) + 1 : -1]))
    assert (spelled, ids[-1]) == (b"the", mid)


def test_no_name_in_a_text_counts():
    tokenizer, pre, suf, mid = with_tokens("qwen2", *QWEN)
    ids = tokenizer.infill("a<|fim_suffix|>b", "<|fim_middle|>")
    assert [i for i in ids if i in (pre, suf, mid)] == [pre, suf, mid]


def test_what_cannot_be():
    with pytest.raises(ParameterError, match="names no tokens for a prefix and a suffix"):
        small("qwen2").infill("a", "b")
    tokenizer, *_ = with_tokens("qwen2", *QWEN)
    for order in ("mps", "", 1, ["psm"]):
        with pytest.raises(ParameterError, match="must be 'psm', 'spm' or None"):
            tokenizer.infill("a", "b", order)
    for texts in ((1, "b"), ("a", None), ("a", "\ud800")):
        with pytest.raises(TokenizerError):
            tokenizer.infill(*texts)


def test_the_end_of_a_turn():
    assert small("qwen2").eot_id == small("qwen2").encode("<|endoftext|>", parse_special=True)[0]
    assert small("llama").eot_id == small("llama").eos_id
