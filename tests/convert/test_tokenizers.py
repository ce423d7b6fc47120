"""Converted tokenizers (trained on a short text) give the same ids as the originals."""

import json

import pytest
from tokenizers import Tokenizer as HF
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from realizar.convert.tokenizer_json import ids_in_library
from realizar.convert.vocabulary import vocabulary
from realizar.errors import ModelFileWarning, TokenizerError
from realizar.tokenizer import Tokenizer
from realizar.tokenizer.pretokenize import pretokenizer

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 2024, isn't it?",
    "def f(x):\n    return x ** 2 + 3.14\n\nprint(f(12345))",
    "Grüße aus Köln, où ça? Привет мир, 你好世界。",
] * 20
TEXTS = ["Hello world", " Hello  world!", "", "I'LL pay $1234567.89\n\n\tnow", "naïve 你好 🚀", "<|end|>no", "x  \n y"]
END = {"content": "<|end|>", "special": True}


def byte_level(split, ignore_merges=False):
    """Train a byte-level BPE tokenizer with the pre-tokenizer of a shipped row."""
    tokenizer = HF(models.BPE(ignore_merges=ignore_merges))
    words = [pre_tokenizers.Split(pattern=regex(p), behavior="isolated") for p in split]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*words, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def regex(pattern):
    from tokenizers import Regex

    return Regex(pattern)


def converted(tokenizer, folder, config=None, **given):
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(given))
    keys = vocabulary(folder, config or {}, {})
    return keys, Tokenizer.from_gguf(keys)


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", "smollm", "falcon", "deepseek-v3", "gpt-4o"])
def test_byte_level(name, tmp_path):
    row = pretokenizer(name, {})
    tokenizer = byte_level(row.split, row.ignore_merges)
    keys, ours = converted(tokenizer, tmp_path, {"vocab_size": 410}, eos_token="<|end|>", chat_template="{{ x }}")
    assert keys["tokenizer.ggml.pre"] == name
    assert len(keys["tokenizer.ggml.tokens"]) == 410
    assert (ours.eos_id, keys["tokenizer.chat_template"]) == (0, "{{ x }}")
    for text in TEXTS:
        assert ours.encode(text, False, True) == tokenizer.encode(text).ids


def test_tokenizer_json_counts_not_the_named_class(tmp_path):
    """SmolLM2's GPT2Tokenizer splits otherwise in transformers (findings/transformers-tokenizer-class.sh)."""
    tokenizer = byte_level(pretokenizer("smollm", {}).split)
    keys, ours = converted(tokenizer, tmp_path, {"model_type": "llama"}, tokenizer_class="GPT2Tokenizer")
    assert keys["tokenizer.ggml.pre"] == "smollm"
    assert ours.encode("1234", False, True) == tokenizer.encode("1234").ids


def test_default_byte_level_regex_is_that_of_gpt2(tmp_path):
    tokenizer = byte_level(["a"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert converted(tokenizer, tmp_path)[0]["tokenizer.ggml.pre"] == "gpt-2"


def test_unknown_pretokenizer_is_an_error(tmp_path):
    with pytest.raises(TokenizerError, match="realizar_pretokenizers"):
        converted(byte_level(["[aeiou]"]), tmp_path)


@pytest.mark.parametrize("normalizer", [normalizers.Lowercase(), normalizers.Sequence([normalizers.NFKC()])])
def test_normalizer_that_gguf_cannot_express_is_an_error(normalizer, tmp_path):
    tokenizer = byte_level(pretokenizer("gpt-2", {}).split)
    tokenizer.normalizer = normalizer
    with pytest.raises(TokenizerError, match="normalizes text by"):
        converted(tokenizer, tmp_path)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC()])
    assert converted(tokenizer, tmp_path)[0]["tokenizer.ggml.pre"] == "gpt-2"


def test_added_bos_and_eos(tmp_path):
    tokenizer = byte_level(pretokenizer("gpt-2", {}).split)
    tokenizer.post_processor = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    _, ours = converted(tokenizer, tmp_path, {"bos_token_id": 0})
    assert ours.encode("Hello") == tokenizer.encode("Hello").ids


def sentencepiece_model(folder, **more):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(CORPUS), model_prefix=str(folder / "tokenizer"), vocab_size=400, minloglevel=2,
        byte_fallback=True, character_coverage=0.99, hard_vocab_limit=False, **more,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_sentencepiece(tmp_path):
    theirs = sentencepiece_model(tmp_path, model_type="bpe", normalization_rule_name="identity",
                                 remove_extra_whitespaces=False)  # fmt: skip
    keys = vocabulary(tmp_path, {"vocab_size": 450, "bos_token_id": 1, "eos_token_id": 2}, {})
    ours = Tokenizer.from_gguf(keys)
    assert keys["tokenizer.ggml.model"] == "llama"
    assert len(keys["tokenizer.ggml.tokens"]) == 450
    for text in filter(None, TEXTS):
        assert ours.encode(text, False) == theirs.encode(text)


def test_sentencepiece_bpe_in_tokenizer_json(tmp_path):
    """As transformers converts the tokenizer.model of Llama 2."""
    theirs = HF(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    theirs.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    theirs.decoder = decoders.ByteFallback()
    names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=names, show_progress=False, max_token_length=8)
    theirs.train_from_iterator(CORPUS, trainer)
    theirs.add_special_tokens(["<s>", "</s>"])
    whole = json.loads(theirs.to_str())
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["id"] < 3]
    theirs = HF.from_str(json.dumps(whole))
    keys, ours = converted(theirs, tmp_path, bos_token="<s>", eos_token="</s>", add_bos_token=False)
    assert keys["tokenizer.ggml.model"] == "llama"
    for text in ["Hello world", "The quick brown fox", "naïve 你好 🚀", "def f(x): return 12"]:
        assert ours.encode(text, False) == theirs.encode(text).ids


def test_gemma_in_tokenizer_json(tmp_path):
    theirs = HF(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    theirs.normalizer = normalizers.Replace(" ", "▁")
    theirs.decoder = decoders.ByteFallback()
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<|channel>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=names, show_progress=False, max_token_length=8)
    theirs.train_from_iterator([line for text in CORPUS for line in text.split("\n")], trainer)
    whole = json.loads(theirs.to_str())
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["id"] < 5]
    theirs = HF.from_str(json.dumps(whole))
    (tmp_path / "generation_config.json").write_text('{"suppress_tokens": [4, 0]}')
    keys, ours = converted(theirs, tmp_path, bos_token="<bos>", eos_token="<eos>")
    assert (keys["tokenizer.ggml.model"], ours.suppressed_ids) == ("gemma4", (0, 4))
    for text in [*TEXTS, "<|channel>thought"]:
        assert ours.encode(text, parse_special=True) == [2, *theirs.encode(text).ids]
    assert (ours.is_hidden(2), ours.is_hidden(4)) == (True, False)


@pytest.mark.parametrize("ids", [(400, 401, 402), (400, 402, 403), (401, 400, 402)])
def test_ids_of_added_tokens(ids, tmp_path, recwarn):
    """The file's ids are converted, with a warning if those of the tokenizers package differ."""
    tokenizer = byte_level(pretokenizer("gpt-2", {}).split)
    n = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens(["<a>", "<b>", "<c>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    ids = [i - 400 + n for i in ids]
    for token, i in zip(content["added_tokens"][-3:], ids, strict=True):
        token["id"] = i
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    keys = vocabulary(tmp_path, {}, {})
    assert [keys["tokenizer.ggml.tokens"][i] for i in ids] == ["<a>", "<b>", "<c>"]
    library = HF.from_file(str(tmp_path / "tokenizer.json")).get_added_tokens_decoder()
    assert ids_in_library(content) == {token.content: i for i, token in library.items()}
    warned = [str(w.message) for w in recwarn.list if w.category is ModelFileWarning]
    assert len(warned) == (ids != [n, n + 1, n + 2])
    assert all("in transformers" in text for text in warned)


def test_damaged_files(tmp_path):
    for damaged in (b"\x0a\xff\xff\xff\x0f", b"\x0a\x02\x08\x05"):  # a piece beyond the end, a piece that is a number
        (tmp_path / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(TokenizerError, match="SentencePiece"):
            vocabulary(tmp_path, {}, {})
    (tmp_path / "tokenizer.model").unlink()
    assert vocabulary(tmp_path, {}, {}) == {}
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "merges": 3}}')
    with pytest.raises(TokenizerError, match="tokenizers package"):
        vocabulary(tmp_path, {}, {})
