"""Tokenizer: special tokens, round trips, errors, and lazy imports."""

import subprocess
import sys
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar.errors import GGUFError, ModelFileWarning, TokenizerError
from realizar.tokenizer import Tokenizer
from tests.tokenizer.vocabularies import COMMITTED, committed, small

UNICODE = st.text(st.characters(codec="utf-8"))
NO_BYTE = {"▁the": 6, "<0x00>": 1}  # still 256 BYTE tokens, but one has an invalid text


def changed(name, **changes):
    """Return committed metadata with some keys (without tokenizer.ggml.) changed, or removed if None."""
    metadata = dict(committed(name)["metadata"])
    for key, value in changes.items():
        metadata[f"tokenizer.ggml.{key}"] = value
        if value is None:
            del metadata[f"tokenizer.ggml.{key}"]
    return metadata


def retyped(name, **kinds):
    """Return the committed token types, some of them changed: text=type."""
    tokens, types = (committed(name)["metadata"][f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
    return [kinds.get(token, kind) for token, kind in zip(tokens, types, strict=True)]


@pytest.mark.parametrize("name", COMMITTED)
@given(text=UNICODE)
def test_decode_inverts_encode(name, text):
    tokenizer = small(name)
    spelled = text.replace("▁", " ") if name in ("llama", "gemma4") else text  # they do not distinguish the two
    assert tokenizer.decode(tokenizer.encode(text)) == spelled
    assert tokenizer.decode(tokenizer.encode(text, add_special=False), skip_special=False) == spelled


@pytest.mark.parametrize("name", COMMITTED)
@given(parts=st.lists(UNICODE | st.sampled_from(["<s>", "</s>", "<|endoftext|>", "<|im_end|>", "<unk>"]), max_size=6))
def test_decode_keeps_special_tokens_on_request(name, parts):
    text = "".join(parts).replace("▁", " ")
    ids = small(name).encode(text, add_special=False, parse_special=True)
    assert small(name).decode(ids, skip_special=False) == text


@pytest.mark.parametrize("name", COMMITTED)
def test_concatenated_token_bytes_equal_the_text(name):
    tokenizer = small(name)
    ids = tokenizer.encode("Größe 🦙 x", add_special=False)
    prefix = b" " if tokenizer.space_prefix else b""
    assert b"".join(map(tokenizer.token_bytes, ids)) == prefix + "Größe 🦙 x".encode()


def test_control_tokens_are_parsed_only_on_request():
    tokenizer = small("qwen2")
    end = committed("qwen2")["metadata"]["tokenizer.ggml.tokens"].index("<|endoftext|>")
    assert tokenizer.encode("a<|endoftext|>b", parse_special=True).count(end) == 1
    plain = tokenizer.encode("a<|endoftext|>b")
    assert end not in plain
    assert tokenizer.decode(plain) == "a<|endoftext|>b"
    assert tokenizer.decode([end]) == ""
    assert tokenizer.decode([end], skip_special=False) == "<|endoftext|>"


def test_user_defined_tokens_are_always_parsed_and_decoded():
    tokens = [*committed("qwen2")["metadata"]["tokenizer.ggml.tokens"], "<mark>", "<mark><mark>"]
    types = [*committed("qwen2")["metadata"]["tokenizer.ggml.token_type"], 4, 4]
    tokenizer = Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types))
    one, two = len(tokens) - 2, len(tokens) - 1
    assert tokenizer.encode("<mark><mark><mark>") == [two, one]  # the longest match wins
    assert tokenizer.decode([two, one]) == "<mark><mark><mark>"


def test_every_text_between_special_tokens_gets_a_leading_space():
    tokenizer = small("llama")
    a = tokenizer.encode("a", add_special=False)
    assert tokenizer.encode("a</s>a", add_special=False, parse_special=True) == [*a, tokenizer.eos_id, *a]
    without = Tokenizer.from_gguf(changed("llama", add_space_prefix=False))
    assert without.encode(" a", add_special=False) == a
    assert without.decode(a) == " a"


def test_bos_and_eos():
    tokenizer = small("llama")
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    a = tokenizer.encode("a", add_special=False)
    assert tokenizer.encode("a") == [1, *a]
    both = Tokenizer.from_gguf(changed("llama", add_eos_token=True))
    assert both.encode("a") == [1, *a, 2]
    neither = Tokenizer.from_gguf(changed("llama", add_bos_token=False))
    assert neither.encode("a") == a
    by_default = Tokenizer.from_gguf(changed("llama", add_bos_token=None, bos_token_id=None))
    assert by_default.encode("a") == [1, *a]
    assert small("qwen2").encode("") == []
    by_pre = Tokenizer.from_gguf(changed("qwen2", pre="llama-bpe", add_bos_token=None))
    assert by_pre.encode("") == [by_pre.bos_id]


def test_gemma4_adds_bos_whatever_the_file_says():
    assert Tokenizer.from_gguf(changed("gemma4", add_bos_token=False)).encode("a") == small("gemma4").encode("a")


def test_add_bos_requires_a_bos_token():
    with pytest.raises(TokenizerError, match="add_bos_token is true"), pytest.warns(ModelFileWarning):
        Tokenizer.from_gguf(changed("qwen2", add_bos_token=True, bos_token_id=2**32 - 1))


@pytest.mark.parametrize("token", [-1, 384, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("name", ["bos", "eos", "eot", "eom", "fim_pre", "prefix"])
def test_special_ids_outside_the_vocabulary(name, token):
    """They raise a warning and are ignored, as in llama.cpp."""
    without = Tokenizer.from_gguf(changed("qwen2", **{f"{name}_token_id": None}))
    with pytest.warns(ModelFileWarning, match=f"tokenizer.ggml.{name}_token_id: there is no token {token}, ids are 0"):
        tokenizer = Tokenizer.from_gguf(changed("qwen2", **{f"{name}_token_id": token}))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eot_id) == (without.bos_id, without.eos_id, without.eot_id)
    assert (tokenizer.eog_ids, tokenizer.fim) == (without.eog_ids, without.fim)


def test_invalid_eos_falls_back_to_that_of_sentencepiece():
    with pytest.warns(ModelFileWarning, match="there is no token 2147483647"):
        assert Tokenizer.from_gguf(changed("llama", eos_token_id=2**31 - 1)).eos_id == 2


@pytest.mark.parametrize("name", ["llama", "bert", "t5"])
@pytest.mark.parametrize("token", [-1, 512, 2**32 - 1, True, "<unk>"])
def test_invalid_unknown_token(name, token):
    with pytest.raises(GGUFError, match=r"^tokenizer\.ggml\.unknown_token_id: must be a token id, 0 to 511, found"):
        Tokenizer.from_gguf(changed(name, unknown_token_id=token))


def test_unknown_token_that_is_a_word_piece():
    """Its text is converted to WordPiece notation like that of other pieces."""
    tokens = ["[PAD]", "▁a", "b", "[CLS]", "[SEP]"]
    keys = {"cls_token_id": 3, "bos_token_id": 3, "seperator_token_id": 4, "unknown_token_id": 2}
    tokenizer = Tokenizer.from_gguf(changed("bert", tokens=tokens, token_type=[3, 1, 1, 3, 3], **keys))
    assert tokenizer.encode("a ü") == [3, 1, 2, 4]


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_missing_scores(name):
    """All scores are 0, as in llama.cpp: of pairs with equal scores the first is merged."""
    zeros = Tokenizer.from_gguf(changed(name, scores=[0.0] * 512))
    without = Tokenizer.from_gguf(changed(name, scores=None))
    for text in ("Hello, world", "  the the", "ü"):
        assert without.encode(text) == zeros.encode(text)


def whitespace(**changes):
    """Return a vocabulary like that of jina-embeddings-v2-base-zh."""
    tokens = ["<s>", "</s>", "<unk>", "a", "b", "c", "ab", "abc", "你", "好", "你好", "ä", "A"]
    metadata = {
        "model": "whitespace", "pre": "whitespace", "tokens": tokens, "token_type": [3, 3, 3] + [1] * 10,
        "merges": ["a b", "ab c", "你 好"], "bos_token_id": 0, "eos_token_id": 1, "unknown_token_id": 2,
        "add_bos_token": True, "add_eos_token": True, **changes,
    }  # fmt: skip
    return Tokenizer.from_gguf({f"tokenizer.ggml.{key}": value for key, value in metadata.items()})


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("abc", [7]), ("ab c", [6, 5]), (" a\tb\u3000c\n", [3, 4, 5]), ("你好你", [10, 8]), ("a你好b", [3, 10, 4]),
        ("aäA", [3, 11, 12]), ("a?b", [3, 4]), ("ä🚀", [11]), ("", []),
    ],
)  # fmt: skip
def test_whitespace_tokenizer(text, ids):
    """Expected ids are from llama.cpp (llama-cpp-python 0.3.36)."""
    assert whitespace().encode(text, add_special=False) == ids
    assert whitespace().encode(text) == [0, *ids, 1]


def test_whitespace_tokenizer_lowercases():
    assert whitespace(**{"normalizer.lowercase": True}).encode("ABC Ä", add_special=False) == [7, 11]
    assert whitespace().decode([7, 10, 11]) == "abc你好ä"
    with pytest.raises(TokenizerError, match="merges cannot be used"):
        whitespace(merges=["ab"]).encode("a")


def test_wordpiece_adds_cls_and_sep_regardless_of_flags():
    tokenizer = Tokenizer.from_gguf(changed("bert", add_bos_token=False, add_eos_token=False))
    assert tokenizer.encode("") == [2, 3]
    assert tokenizer.encode("", add_special=False) == []
    of_two = pytest.raises(TokenizerError, match="needs both in its vocabulary of 2 tokens")
    with of_two, pytest.warns(ModelFileWarning):
        Tokenizer.from_gguf(changed("bert", seperator_token_id=512, tokens=["[CLS]", "a"], token_type=[3, 1]))


def test_wordpiece_normalizes_like_bert():
    tokenizer = small("bert")
    assert tokenizer.decode(tokenizer.encode("  Crème\tBRÛLÉE, "), skip_special=True) == "creme brulee ,"
    cased = Tokenizer.from_gguf(changed("bert", **{"normalizer.lowercase": False}))
    assert cased.encode("A") != cased.encode("a")


def test_unigram_removes_extra_whitespace_if_the_file_says_so():
    tokenizer = small("t5")
    assert tokenizer.encode("  the   dog ") == tokenizer.encode("the dog")
    assert tokenizer.decode(tokenizer.encode(" the  dog")) == "the dog"
    keeps = Tokenizer.from_gguf(changed("t5", remove_extra_whitespaces=False))
    assert keeps.encode("the  dog") != keeps.encode("the dog")


def test_known_texts_are_end_of_generation_control_tokens():
    metadata = changed("qwen2", token_type=retyped("qwen2", **{"<|endoftext|>": 1}))
    tokenizer = Tokenizer.from_gguf(metadata)
    end = metadata["tokenizer.ggml.tokens"].index("<|endoftext|>")
    assert tokenizer.eog_ids >= {end, tokenizer.eos_id}
    assert tokenizer.is_hidden(end)


def test_tokens_that_end_only_a_part_of_the_message():
    tokens = [*committed("qwen2")["metadata"]["tokenizer.ggml.tokens"], "<|end|>", "<|return|>", "<|call|>"]
    types = [*committed("qwen2")["metadata"]["tokenizer.ggml.token_type"], 3, 3, 3]
    tokenizer = Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types))
    end, return_, call = range(len(tokens) - 3, len(tokens))
    assert end not in tokenizer.eog_ids
    assert {return_, call} < tokenizer.eog_ids
    assert tokenizer.decode([end]) == "<|end|>"


def test_all_listed_eos_ids_end_a_generation():
    plain = small("qwen2")
    others = [i for i in range(plain.n_vocab) if i not in plain.eog_ids][:5]
    for slot, token in zip(("eot", "eom", "fim_pad", "fim_rep", "fim_sep"), others, strict=True):
        assert token in Tokenizer.from_gguf(changed("qwen2", **{f"{slot}_token_id": token})).eog_ids
    listed = Tokenizer.from_gguf(changed("qwen2", eos_token_ids=others[:2]))
    assert listed.eog_ids == plain.eog_ids | set(others[:2])


@pytest.mark.parametrize("witness", ["<|tool_response>", "<|plamo:eos|>"])
def test_end_token_of_one_model_is_ordinary_text_in_another(witness):
    tokens = [*committed("qwen2")["metadata"]["tokenizer.ggml.tokens"], "</s>", witness]
    types = [*committed("qwen2")["metadata"]["tokenizer.ggml.token_type"], 3, 3]
    word, end = len(tokens) - 2, len(tokens) - 1
    tokenizer = Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types, eos_token_id=end))
    assert end in tokenizer.eog_ids
    assert word not in tokenizer.eog_ids
    assert not tokenizer.is_special(word)
    tokens[end] = "something"
    assert word in Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types, eos_token_id=end)).eog_ids


def test_suppressed_tokens():
    assert small("qwen2").suppressed_ids == ()
    for given_, found in (([], ()), ([7, 5, 5], (5, 7)), (np.array([3], np.int32), (3,))):
        assert Tokenizer.from_gguf(changed("qwen2", suppress_tokens=given_)).suppressed_ids == found
    for wrong in (["a"], [[1]], 5, [0.5]):
        with pytest.raises(TokenizerError, match="suppress_tokens: must be a list of token ids"):
            Tokenizer.from_gguf(changed("qwen2", suppress_tokens=wrong))


@pytest.mark.parametrize(("key", "found"), [("suppress_tokens", "suppressed_ids"), ("eos_token_ids", "eog_ids")])
def test_listed_ids_outside_the_vocabulary_warn(key, found):
    says = rf"tokenizer\.ggml\.{key}: there are no tokens \[-1, 1000000\], ids are 0 to \d+; they are ignored"
    with pytest.warns(ModelFileWarning, match=says):
        tokenizer = Tokenizer.from_gguf(changed("qwen2", **{key: [7, -1, 10**6]}))
    assert 7 in getattr(tokenizer, found)
    assert not {-1, 10**6} & set(getattr(tokenizer, found))


def test_phi3_drops_whitespace_after_special_tokens():
    metadata = {**changed("llama"), "general.name": "Phi-3 mini"}
    tokenizer = Tokenizer.from_gguf(metadata)
    a = tokenizer.encode("a", add_special=False)
    assert tokenizer.encode("</s> \n a", add_special=False, parse_special=True) == [2, *a]
    assert tokenizer.encode("<s> a", add_special=False, parse_special=True) == [1, *tokenizer.encode(" a", False)]


def test_unused_tokens_have_no_text():
    tokenizer = Tokenizer.from_gguf(changed("qwen2", token_type=retyped("qwen2", a=5)))
    a = committed("qwen2")["metadata"]["tokenizer.ggml.tokens"].index("a")
    assert tokenizer.decode([a, a + 1]) == "b"
    assert tokenizer.token_bytes(a) == b""


@pytest.mark.parametrize("bad", [-1, 384, 10**30])
def test_unknown_ids(bad):
    with pytest.raises(TokenizerError, match=r"the vocabulary has ids 0 to 383"):
        small("qwen2").decode([0, bad])


def test_ids_must_be_integers():
    assert small("qwen2").decode(np.array([64, 65], dtype=np.int32)) == "ab"
    with pytest.raises(TokenizerError, match="must be an integer, found str"):
        small("qwen2").decode("ab")


@pytest.mark.parametrize(
    ("text", "message"),
    [("ab\udc80", "lone surrogate '.udc80' at character 2"), (b"ab", "must be a str, found bytes"), (None, "NoneType")],
)
def test_invalid_texts(text, message):
    with pytest.raises(TokenizerError, match=message):
        small("qwen2").encode(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "plamo2"}, "'plamo2' is unknown; known are gpt2, llama, gemma4, bert, t5, whitespace, rwkv, none"),
        ({"model": "none"}, "None.vocab_size: a file without a vocabulary needs the number of tokens, found None"),
        ({"model": None}, "None is unknown"),
        ({"pre": "no-such"}, "a plugin can add it with the hook realizar_pretokenizers"),
        ({"pre": "whitespace"}, "'whitespace' splits words at spaces and drops them"),
        ({"tokens": None}, "must be a list of strings, found nothing"),
        ({"tokens": []}, "found an empty list"),
        ({"tokens": [1, 2]}, "found int"),
        ({"tokens": ["a", "b", "a"]}, "'a' occurs more than once"),
        ({"token_type": [1]}, "must be 384 numbers, one per token, found 1"),
        ({"token_type": "x"}, "must be 384 numbers, one per token, found str"),
        ({"token_type": [1.0] * 384}, "must be 384 numbers, one per token, found type float64"),
    ],
)
def test_files_that_cannot_be_read(changes, message):
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.from_gguf(changed("qwen2", **changes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen2", {"merges": None}, "must be a list of strings, found nothing"),
        ("qwen2", {"merges": ["a zzzz"]}, "merges or the pre-tokenizer cannot be used"),
        ("qwen2", {"merges": ["ab"]}, "merges or the pre-tokenizer cannot be used"),
        ("llama", {"token_type": retyped("llama", **NO_BYTE)}, "cannot be used as a SentencePiece model"),
        ("gemma4", {"merges": None}, "must be a list of strings, found nothing"),
        ("gemma4", {"merges": ["ab"]}, "merges or the pre-tokenizer cannot be used"),
        ("llama", {"scores": [0.0]}, "must be 512 numbers, one per token, found 1"),
        ("llama", {"scores": ["0"] * 512}, "must be 512 numbers, one per token, found type <U1"),
        ("llama", {"scores": [1e300] * 512}, "cannot be used as a SentencePiece model"),
        (
            "bert",
            {"unknown_token_id": None, "tokens": ["[PAD]", "a", "[CLS]", "[SEP]"], "token_type": [3, 1, 3, 3]},
            "unknown_token_id: a WordPiece vocabulary needs it",
        ),
        (
            "t5",
            {"unknown_token_id": None, "eos_token_id": None, "tokens": ["a"], "token_type": [1], "scores": [0.0]},
            "a unigram vocabulary needs it",
        ),
        ("t5", {"precompiled_charsmap": [1, 2, 3, 4, 5]}, "precompiled_charsmap cannot be used"),
    ],
)
def test_files_that_cannot_be_built(name, changes, message):
    tokenizer = Tokenizer.from_gguf(changed(name, **changes))
    with pytest.raises(TokenizerError, match=message):
        tokenizer.encode("a")


def test_invalid_byte_token():
    assert small("llama").token_bytes(3 + 0x7F) == b"\x7f"
    mistyped = Tokenizer.from_gguf(changed("llama", token_type=retyped("llama", **NO_BYTE)))
    the = committed("llama")["metadata"]["tokenizer.ggml.tokens"].index("▁the")
    with pytest.raises(TokenizerError, match="'▁the' does not have the form <0xNN>"):
        mistyped.token_bytes(the)


def test_unusual_files_that_can_be_read():
    tokens = [*committed("llama")["metadata"]["tokenizer.ggml.tokens"], "", ""]
    types = np.array([*committed("llama")["metadata"]["tokenizer.ggml.token_type"], 2, 77], dtype=np.int32)
    scores = np.array([*committed("llama")["metadata"]["tokenizer.ggml.scores"], 0, 0], dtype=np.float32)
    tokenizer = Tokenizer.from_gguf(changed("llama", tokens=tokens, token_type=types, scores=scores))
    assert tokenizer.encode("Hello world") == small("llama").encode("Hello world")
    assert tokenizer.decode([512, 513]) == ""
    tokens = [*committed("qwen2")["metadata"]["tokenizer.ggml.tokens"], "", ""]
    types = [*committed("qwen2")["metadata"]["tokenizer.ggml.token_type"], 3, 4]
    tokenizer = Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types))
    assert tokenizer.encode("Hello world", parse_special=True) == small("qwen2").encode("Hello world")
    untyped = Tokenizer.from_gguf(changed("qwen2", token_type=None))
    assert untyped.encode("Hello world") == small("qwen2").encode("Hello world")


def test_merges_are_split_after_their_first_character():
    tokens = [*committed("qwen2")["metadata"]["tokenizer.ggml.tokens"], " ", " x"]
    types = [*committed("qwen2")["metadata"]["tokenizer.ggml.token_type"], 1, 1]
    tokenizer = Tokenizer.from_gguf(changed("qwen2", tokens=tokens, token_type=types, merges=["  x"]))
    assert tokenizer.encode("x") == small("qwen2").encode("x")
    assert tokenizer.token_bytes(len(tokens) - 1) == b" x"  # not in the byte alphabet: the text itself


def test_tokenizer_is_thread_safe():
    tokenizer = Tokenizer.from_gguf(committed("qwen2")["metadata"])
    results = []
    threads = [Thread(target=lambda: results.append(tokenizer.encode("Hello world " * 100))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [small("qwen2").encode("Hello world " * 100)] * 4


def test_import_is_lazy():
    code = "import sys, realizar.tokenizer; print(*{'tokenizers', 'sentencepiece', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
