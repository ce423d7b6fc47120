"""Ids, bytes and end-of-generation tokens match llama.cpp's tokenizer on random texts (extra: peers)."""

import ctypes
import random
import unicodedata

import pytest

from tests.shared import SHARED, needs_shared
from tests.tokenizer.vocabularies import VECTORS, of_file, real

WORDPIECE = (VECTORS / "ggml-vocab-bert-bge.gguf", SHARED / "parity" / "bert" / "model-q8_0.gguf")
RWKV = SHARED / "parity2026" / "rwkv7" / "model-q8_0.gguf"
FILES = [
    RWKV,
    *(VECTORS / f"ggml-vocab-{name}.gguf" for name in ("gpt-2", "starcoder", "falcon", "llama-spm", "phi-3")),
    *WORDPIECE,
    *(
        SHARED / "parity" / case / "model-q8_0.gguf"
        for case in ("gemma", "llama3_rope", "roberta", "gpt_oss", "t5", "flan_t5", "xlm_roberta")
    ),
    real("smollm2"),
    real("qwen2.5-coder-0.5b"),
]
CHARACTERS = (
    "  \n\t\r abcXYZ0123456789'.,!?-_<>|/éßçñ½™ﬁ你好日本語привет🦙🚀👩‍👧\u200d\u3000\xa0क्षि한국어عربي\x00\x01\x7f▁"
)
WORDS = [
    "Hello", " world", " I'm", "don't", "  ", "   \n", "\n\n", "1234567", "3.14", " the", "   foo", "()", "</s>",
    "<s>", "<unk>", "<0x0A>", " 'S",
]  # fmt: skip


@needs_shared
@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_matches_llamacpp(path):
    llama = pytest.importorskip("llama_cpp")
    if not path.is_file():
        pytest.skip(f"the real model is not in the cache ({path})")
    vocab = _vocab(llama, path)
    ours = of_file(path)
    assert ours.n_vocab == llama.llama_vocab_n_tokens(vocab)
    buffer = ctypes.create_string_buffer(1 << 14)
    for i in range(ours.n_vocab):
        n = llama.llama_token_to_piece(vocab, i, buffer, len(buffer), 0, True)
        assert buffer.raw[:n] == ours.token_bytes(i)
    assert ours.eog_ids == {i for i in range(ours.n_vocab) if llama.llama_vocab_is_eog(vocab, i)}

    special = [ours.token_bytes(i).decode() for i in range(ours.n_vocab) if ours.is_special(i)]
    ids = (llama.llama_token * 4096)()
    random_ = random.Random(0)
    for _ in range(300):
        text = _text(random_, special)
        if path in WORDPIECE:
            text = "".join(c for c in text if _as_bert(c))
        raw = text.encode()
        for add in (False, True):
            for parse in (False, True):
                if path == RWKV and not parse and "<s>" in text:  # it takes a control token from untrusted text
                    continue
                n = llama.llama_tokenize(vocab, raw, len(raw), ids, len(ids), add, parse)
                assert ours.encode(text, add, parse) == ids[:n], repr(text)


def _as_bert(character: str) -> bool:
    """Whether llama.cpp treats a character like BERT: not Hangul, spacing marks, joiners and ▁."""
    return (
        unicodedata.category(character) not in ("Mc", "Co", "Cn", "Cf")
        and character != "▁"
        and not "가" <= character <= "힣"
    )


def _vocab(llama, path):
    llama.llama_log_set(_quiet(llama), None)
    llama.llama_backend_init()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    return llama.llama_model_get_vocab(llama.llama_model_load_from_file(str(path).encode(), params))


def _quiet(llama, kept=[]):  # noqa: B006 - ctypes needs the callback to live on
    kept.append(llama.llama_log_callback(lambda *_: None))
    return kept[-1]


def _text(random_: random.Random, special: list[str]) -> str:
    parts = []
    for _ in range(random_.randint(0, 14)):
        choice = random_.random()
        if choice < 0.25 and special:
            parts.append(random_.choice(special))
        elif choice < 0.6:
            parts.append("".join(random_.choices(CHARACTERS, k=random_.randint(1, 8))))
        elif choice < 0.9:
            parts.append(random_.choice(WORDS))
        else:
            parts.append(chr(random_.choice([random_.randrange(0x20, 0x3000), random_.randrange(0xE000, 0x110000)])))
    return "".join(parts)
