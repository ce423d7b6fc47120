"""Fill-in-the-middle prompts: tokens, order of the parts, and tokenization of the texts."""

import pytest

from realizar.errors import ParameterError, TokenizerError
from realizar.tokenizer import Tokenizer
from tests.tokenizer.test_tokenizer import changed
from tests.tokenizer.vocabularies import committed, small

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def with_tokens(name, *texts, **changes):
    """Return a committed vocabulary with these control tokens appended, and their ids."""
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


def test_metadata_keys_override_token_texts():
    tokenizer, pre, suf, mid, other = with_tokens("qwen2", *QWEN, "other")
    assert tokenizer.infill("", "") == [pre, suf, mid]
    named, *_ = with_tokens("qwen2", *QWEN, "other", fim_pre_token_id=other)
    assert named.infill("", "") == [other, suf, mid]
    older, *_ = with_tokens("qwen2", *QWEN, "other", suffix_token_id=other)
    assert older.infill("", "") == [pre, other, mid]


@pytest.mark.parametrize("names", [("[PREFIX]", "[SUFFIX]", "[MIDDLE]"), ("a_prefix", "a_suffix", "a_middle")])
def test_without_middle_token_the_suffix_comes_first(names):
    """As in Codestral: with Mistral's token texts, or with metadata keys that omit the middle token."""
    n = len(committed("qwen2")["metadata"]["tokenizer.ggml.tokens"])
    keys = {"fim_pre_token_id": n, "fim_suf_token_id": n + 1} if names[0] == "a_prefix" else {}
    tokenizer, pre, suf, _ = with_tokens("qwen2", *names, **keys)
    a = tokenizer.encode("the", add_special=False)
    assert tokenizer.infill("the", "the") == [suf, *a, pre, *a]
    assert tokenizer.infill("the", "the", "spm") == [suf, *a, pre, *a]
    with pytest.raises(ParameterError, match="no middle token"):
        tokenizer.infill("the", "the", "psm")


def test_prefix_gets_a_leading_space_and_suffix_does_not():
    tokenizer, pre, suf, mid = with_tokens("llama", "▁<PRE>", "▁<SUF>", "▁<MID>")
    word, rest = tokenizer.encode("the", add_special=False), tokenizer.encode("the", add_special=False)
    assert tokenizer.decode(rest) == "the"
    ids = tokenizer.infill("the", "the")
    assert ids[:2] == [tokenizer.bos_id, pre]
    assert ids[2 : ids.index(suf)] == word
    spelled = b"".join(map(tokenizer.token_bytes, ids[ids.index(suf) + 1 : -1]))
    assert (spelled, ids[-1]) == (b"the", mid)


def test_special_tokens_in_the_texts_are_plain_text():
    tokenizer, pre, suf, mid = with_tokens("qwen2", *QWEN)
    ids = tokenizer.infill("a<|fim_suffix|>b", "<|fim_middle|>")
    assert [i for i in ids if i in (pre, suf, mid)] == [pre, suf, mid]


def test_errors():
    with pytest.raises(ParameterError, match="no fill-in-the-middle tokens"):
        small("qwen2").infill("a", "b")
    tokenizer, *_ = with_tokens("qwen2", *QWEN)
    for order in ("mps", "", 1, ["psm"]):
        with pytest.raises(ParameterError, match="must be 'psm', 'spm' or None"):
            tokenizer.infill("a", "b", order)
    for texts in ((1, "b"), ("a", None), ("a", "\ud800")):
        with pytest.raises(TokenizerError):
            tokenizer.infill(*texts)


def test_end_of_turn_token():
    assert small("qwen2").eot_id == small("qwen2").encode("<|endoftext|>", parse_special=True)[0]
    assert small("llama").eot_id == small("llama").eos_id
