"""Damaged and artificial model files, loaded and run: a RealizarError of one line, or a model that works."""

import math
import os
import re

import numpy as np
import pytest

from realizar import LLM, SamplingParams
from realizar.errors import (
    GGUFError,
    GraphError,
    RealizarError,
    TensorError,
    TokenizerError,
    UnknownArchitectureError,
)
from realizar.gguf import GGMLType, GGUFFile, ValueType
from tests.limits.models import LLAMA, QWEN2, TEMPLATE, rewritten

PARAMS = SamplingParams(max_tokens=3, temperature=0.7, seed=1, logprobs=2, ignore_eos=True)
SOURCES = {"llama": LLAMA, "qwen2": QWEN2}

pytestmark = pytest.mark.filterwarnings("ignore::realizar.errors.ModelFileWarning")


def put_to_work(path, **params):
    """Load a model, tokenize, generate, chat and compute logits."""
    with LLM(path, n_threads=1, n_seqs=2, n_ctx=64, **params) as llm:
        ids = llm.tokenize("Hello <s> wörld", parse_special=True)
        llm.detokenize(llm.generate(["Hello, world", ids], PARAMS)[0].token_ids)
        llm.logits(ids)
        if llm.tokenizer.chat_template is not None:
            llm.chat([{"role": "user", "content": "Hello"}], PARAMS)


def works(path):
    """Return whether a file works; otherwise it must fail with a RealizarError of one readable line."""
    try:
        put_to_work(path)
    except RealizarError as error:
        text = str(error)
        assert text.isprintable(), text
        assert 10 < len(text) < 500, text
        return False
    return True


@pytest.fixture(params=SOURCES)
def source(request):
    return SOURCES[request.param]


def header_bytes(path):
    with GGUFFile(path) as file:
        return min(info.offset for info in file.tensors.values())


def test_the_undamaged_files_work(source, tmp_path):
    put_to_work(source)
    put_to_work(source, load="read")
    put_to_work(rewritten(source, tmp_path / "copy.gguf", {"tokenizer.chat_template": TEMPLATE}))


@pytest.mark.parametrize("load", ["mmap", "read"])
def test_files_truncated_at_every_64th_part(source, tmp_path, load):
    good, path = source.read_bytes(), tmp_path / "cut.gguf"
    for i in range(64):
        path.write_bytes(good[: len(good) * i // 64])
        with pytest.raises(GGUFError, match=r"cut\.gguf"):
            LLM(path, load=load)


# Every byte with every pattern takes most of an hour; four patterns at some bytes take seconds.
@pytest.mark.parametrize("stride", [251, pytest.param(31, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("bits", "first"), [(0xFF, 0), (0x80, 3), (0x01, 6), (0x20, 9)])
def test_flipped_header_bytes(source, tmp_path, bits, first, stride):
    good, path = source.read_bytes(), tmp_path / "flipped.gguf"
    path.write_bytes(good)
    descriptor = os.open(path, os.O_RDWR)
    try:
        for at in range(first, header_bytes(source), stride):
            os.pwrite(descriptor, bytes([good[at] ^ bits]), at)
            works(path)
            os.pwrite(descriptor, good[at : at + 1], at)
    finally:
        os.close(descriptor)
    put_to_work(path)


NUMBERS = [0, 1, 3, 255, 2**31 - 1, 2**32 - 1, (2**63 - 1, ValueType.INT64), (2**64 - 1, ValueType.UINT64), -1]
FLOATS = [(x, ValueType.FLOAT64) for x in (math.nan, math.inf, -1.0, 0.0, 1e-300, 1e300, 0.5)]
OTHERS = [True, "", "none", "x" * 100_000, "a\nb\x1b[31m", ["a"], [1, 2], [0.5], None]
ARCH_KEYS = (
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
    "attention.sliding_window", "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.attn_factor", "rope.scale_linear",
)  # fmt: skip
TOKENIZER_KEYS = (
    "model", "pre", "tokens", "scores", "token_type", "merges", "bos_token_id", "eos_token_id", "unknown_token_id",
    "eot_token_id", "add_bos_token", "add_eos_token", "add_space_prefix",
)  # fmt: skip
KEYS = ["general.architecture", "split.count", "split.no", "split.tensors.count", "tokenizer.chat_template"]


def keys_of(architecture):
    return [*KEYS, *(f"{architecture}.{k}" for k in ARCH_KEYS), *(f"tokenizer.ggml.{k}" for k in TOKENIZER_KEYS)]


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("values", [NUMBERS, FLOATS, OTHERS], ids=["numbers", "floats", "others"])
def test_invalid_metadata_values(source, tmp_path, values, stride):
    """Each key with all values, or with every fourth, so that each key has some and each value is in some."""
    for i, key in enumerate(keys_of(source.parent.name)):
        for value in values[i % stride :: stride]:
            works(rewritten(source, tmp_path / "changed.gguf", {key: value}))


REFUSED = {
    "many layers": ({"block_count": 999}, TensorError, "speak of 999 layers, but it has only 21 tensors"),
    "very many layers": ({"block_count": 2**32 - 1}, GGUFError, "an integer from 1 to 4096 is needed"),
    "no layers": ({"block_count": 0}, GGUFError, "an integer from 1 to 4096 is needed, found 0"),
    "one layer too many": ({"block_count": 3}, TensorError, r"blk\.2\.attn_norm\.weight: the architecture needs it"),
    "no heads": ({"attention.head_count": 0}, GGUFError, "head_count: an integer >= 1"),
    "many heads": ({"attention.head_count": 2**31}, TensorError, r"attn_q\.weight: shape"),
    "heads that share badly": ({"attention.head_count_kv": 3}, GGUFError, "4 query heads are not a multiple of 3"),
    "odd heads": ({"attention.key_length": 63}, (TensorError, GraphError), "63|shape"),
    "wide embedding": ({"embedding_length": 2**40}, TensorError, r"token_embd\.weight: shape \(512, 256\)"),
    "vocabulary of another size": ({"vocab_size": 511, "tokens": ["a", "b"]}, TensorError, r"shape \(512, 256\)"),
    "NaN epsilon": ({"attention.layer_norm_rms_epsilon": math.nan}, GGUFError, "a finite number is needed, found nan"),
    "negative epsilon": ({"attention.layer_norm_rms_epsilon": -1.0}, GGUFError, "a number from 0 to 1 is needed"),
    "no epsilon": ({"attention.layer_norm_rms_epsilon": None}, GGUFError, "it is missing"),
    "epsilon as text": ({"attention.layer_norm_rms_epsilon": "1e-5"}, GGUFError, "found '1e-5'"),
    "odd rotation": ({"rope.dimension_count": 33}, GraphError, "33 rotated dimensions"),
    "rotation beyond the head": ({"rope.dimension_count": 66}, GraphError, "66 rotated dimensions for"),
    "no rotation base": ({"rope.freq_base": 0.0}, GGUFError, "freq_base: a number from 2 to"),
    "negative rotation base": ({"rope.freq_base": -10000.0}, GGUFError, "freq_base: a number from 2 to"),
    "unknown scaling": ({"rope.scaling.type": "magic"}, GraphError, "'magic' is unknown"),
    "no scaling": ({"rope.scaling.factor": 0.0}, GGUFError, "scaling.factor: a number from 0.001"),
    "negative window": ({"attention.sliding_window": (-1, ValueType.INT32)}, GGUFError, "an integer >= 0"),
    "unknown tokenizer": ({"model": "words"}, TokenizerError, "'words' is unknown; known are gpt2, llama"),
    "no vocabulary": ({"tokens": None}, TokenizerError, "must be a list of strings, found nothing"),
    "few scores": ({"scores": [1.0, 2.0]}, TokenizerError, "must be 512 numbers, one per token, found 2"),
    "few types": ({"token_type": [1, 2]}, TokenizerError, "must be 512 numbers, one per token, found 2"),
    "BOS as text": ({"bos_token_id": "<s>"}, TokenizerError, "bos_token_id: must be an integer, found '<s>'"),
    "BOS as a number of truth": ({"add_bos_token": 1}, TokenizerError, "add_bos_token: must be a bool, found 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_name_the_reason(tmp_path, case):
    changes, error, says = REFUSED[case]
    keys = {(f"tokenizer.ggml.{k}" if k in TOKENIZER_KEYS else f"llama.{k}"): v for k, v in changes.items()}
    path = rewritten(LLAMA, tmp_path / "refused.gguf", keys)
    with pytest.raises(error, match=says):
        put_to_work(path)


def test_architectures_without_a_plugin(tmp_path):
    path = rewritten(LLAMA, tmp_path / "model.gguf", {"general.architecture": "llama9"})
    with pytest.raises(UnknownArchitectureError, match=r"'llama9': no installed plugin .* known are .*llama.* more"):
        LLM(path)
    path = rewritten(LLAMA, tmp_path / "model.gguf", {"general.architecture": None})
    with pytest.raises(GGUFError, match=r"general\.architecture: missing in the metadata"):
        LLM(path)


def test_unknown_pre_tokenizers_name_the_hook(tmp_path):
    path = rewritten(QWEN2, tmp_path / "model.gguf", {"tokenizer.ggml.pre": "brand-new"})
    with pytest.raises(TokenizerError, match=r"'brand-new' is not one of .* hook realizar_pretokenizers"):
        put_to_work(path)


def test_every_missing_tensor_is_an_error(source, tmp_path):
    with GGUFFile(source) as file:
        names = list(file.tensors)
    for name in names:
        path = rewritten(source, tmp_path / "model.gguf", None, lambda *row, name=name: None if row[0] == name else row)
        if name in ("output.weight", "rope_freqs.weight"):  # optional: the embedding replaces the first
            put_to_work(path)
        else:
            with pytest.raises(TensorError, match=re.escape(name)):
                LLM(path)


def zeros(shape):
    """Return the bytes of an F32 tensor of zeros."""
    return np.zeros((math.prod(shape[:-1]), 4 * shape[-1]), np.uint8)


def replaced(name, data, shape, type):
    """Return a change for `rewritten` that replaces one tensor."""
    return lambda *row: (name, data, shape, type) if row[0] == name else row


def test_dimensions_of_one_before_the_last_do_not_matter(tmp_path):
    """As converters write convolutions; the numbers and their order are the same."""

    def stretched(name, data, shape, type):
        return name, data, (1, *shape[:-1], 1, shape[-1]) if "attn" in name else shape, type

    put_to_work(rewritten(LLAMA, tmp_path / "model.gguf", None, stretched))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blk.0.attn_norm.weight", (255,)),
        ("blk.0.attn_norm.weight", (2, 128)),
        ("output_norm.weight", (512,)),
        ("token_embd.weight", (256, 512)),
        ("blk.1.ffn_down.weight", (256, 257)),
        ("blk.1.attn_k.weight", (2, 32, 256)),
        ("blk.1.attn_k.weight", (64, 256, 1)),
    ],
)
def test_wrong_shapes(tmp_path, name, shape):
    path = rewritten(LLAMA, tmp_path / "model.gguf", None, replaced(name, zeros(shape), shape, GGMLType.F32))
    with pytest.raises(TensorError, match=re.escape(f"{name}: shape {shape} in model.gguf")):
        LLM(path)


@pytest.mark.parametrize(
    ("n_head", "head_dim", "says"), [(1, 1024, "heads of 1024 elements"), (3, 800, "heads of 800 elements")]
)
def test_heads_too_large_for_the_kernels(tmp_path, n_head, head_dim, says):
    sizes = {
        "attn_q": (n_head * head_dim, 256), "attn_k": (head_dim, 256), "attn_v": (head_dim, 256),
        "attn_output": (256, n_head * head_dim),
    }  # fmt: skip

    def resized(name, data, shape, type):
        size = sizes.get(name.split(".")[-2])
        return (name, data, shape, type) if size is None else (name, zeros(size), size, GGMLType.F32)

    keys = {"head_count": n_head, "head_count_kv": 1, "key_length": head_dim, "value_length": head_dim}
    keys = {**{f"llama.attention.{key}": n for key, n in keys.items()}, "llama.rope.dimension_count": head_dim}
    path = rewritten(LLAMA, tmp_path / "model.gguf", keys, resized)
    with pytest.raises(GraphError, match=rf"blk\.0\.attention: .*{says}"):
        LLM(path)


@pytest.mark.parametrize("type_name", ["Q8_1", "Q8_K", "I32", "F64"])
@pytest.mark.parametrize("name", ["blk.0.ffn_up.weight", "token_embd.weight"])
def test_types_without_kernels(tmp_path, name, type_name):
    ggml_type = GGMLType[type_name]
    n = 512 if name == "token_embd.weight" else 256
    data = np.zeros((n, ggml_type.row_bytes(256)), np.uint8)
    path = rewritten(LLAMA, tmp_path / "model.gguf", None, replaced(name, data, (n, 256), ggml_type))
    with pytest.raises(TensorError, match=f"type {type_name} has no kernels; known are F32"):
        LLM(path)


@pytest.mark.parametrize("byte", [0xFF, 0x7E])
def test_nan_weights(source, tmp_path, byte):
    """Every block NaN or huge: a completion or an error, but no crash."""

    def spoil(name, data, shape, type):
        return (name, np.full_like(data, byte) if "blk" in name else data, shape, type)

    works(rewritten(source, tmp_path / "model.gguf", None, spoil))


def test_files_that_are_not_models(tmp_path):
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "folder.gguf").mkdir()
    for name in ("empty.gguf", "text.gguf", "folder.gguf", "absent.gguf", "x" * 5000, "a\0b", "~nobody-at-all/x.gguf"):
        with pytest.raises(RealizarError, match=r"empty|LFS|folder|no |neither|path"):
            LLM(tmp_path / name if "~" not in name else name)
