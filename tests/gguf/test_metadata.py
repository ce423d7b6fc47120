"""Metadata: typed access, and a clear word when a value is missing or of another kind."""

import tracemalloc

import numpy as np
import pytest

from realizar.errors import GGUFError
from realizar.gguf import GGUFFile, GGUFWriter, ValueType
from realizar.gguf.metadata import describe
from tests.gguf import raw


@pytest.fixture
def metadata(model):
    with GGUFFile(model[0]) as file:
        yield file.metadata


def test_typed_access(metadata):
    assert metadata.get_int("u32") == 4_000_000_000
    assert metadata.get_float("f32") == 0.5
    assert metadata.get_float("i32") == -5.0
    assert metadata.get_bool("no") is False
    assert metadata.get_str("general.architecture") == "llama"
    assert metadata.get_strs("tokens")[2] == "▁the"
    assert metadata.get_array("token_type").dtype == np.int32


def test_defaults(metadata):
    assert metadata.get_int("x", 3) == 3
    assert metadata.get_int("x", 0) == 0
    assert metadata.get_float("x", 0.5) == 0.5
    assert metadata.get_bool("x", False) is False
    assert metadata.get_str("x", "") == ""
    assert metadata.get_strs("x", []) == []
    assert metadata.get_array("x", default=np.zeros(2)).shape == (2,)
    assert metadata.get("x") is None


def test_one_number_for_all_layers(metadata):
    np.testing.assert_array_equal(metadata.get_array("i32", 4), [-5] * 4)
    np.testing.assert_array_equal(metadata.get_array("token_type", 4), [1, 2, 3, -1])


@pytest.mark.parametrize(
    ("method", "key", "says"),
    [
        ("get_int", "x", "not in the metadata, but an integer is needed"),
        ("get_int", "f32", r"is FLOAT32 0\.5, but an integer is needed"),
        ("get_int", "yes", "is BOOL True, but an integer is needed"),
        ("get_int", "tokens", "is an array of 5 STRING, but an integer is needed"),
        ("get_float", "general.architecture", "is STRING 'llama', but a number is needed"),
        ("get_bool", "u8", "is UINT8 200, but a bool is needed"),
        ("get_str", "i8", "is INT8 -100, but a string is needed"),
        ("get_strs", "scores", "is an array of 3 FLOAT32, but an array of strings is needed"),
        ("get_array", "tokens", "is an array of 5 STRING, but an array of numbers is needed"),
        ("get_array", "i32", "is INT32 -5, but an array of numbers is needed"),
    ],
)
def test_wrong_kind(metadata, method, key, says):
    with pytest.raises(GGUFError, match=says):
        getattr(metadata, method)(key)


def test_wrong_number(metadata):
    with pytest.raises(GGUFError, match="an array of 7 numbers, or one for all is needed, but it has 4"):
        metadata.get_array("token_type", 7)


def test_arrays_are_decoded_once_and_cannot_be_changed(metadata):
    assert metadata["tokens"] is metadata["tokens"]
    assert not metadata["scores"].flags.writeable


def test_fields(metadata):
    assert metadata.field("u16").type == ValueType.UINT16
    field = metadata.field("tokens")
    assert (field.type, field.element, field.n) == (ValueType.ARRAY, ValueType.STRING, 5)
    assert len(describe(metadata.field("general.name"))) < 100
    with pytest.raises(KeyError):
        metadata["x"]


def test_strings_that_are_not_utf8(tmp_path):
    """One broken name or token must not keep a model from loading: its bytes are shown escaped."""
    path = tmp_path / "x.gguf"
    strings = raw.string("é") + raw.string(b"a\xff\xfe")
    path.write_bytes(raw.gguf([raw.array("t", ValueType.STRING, 2, strings), raw.value("n", 8, raw.string(b"x\xe2"))]))
    with GGUFFile(path) as file:
        assert file.metadata["t"] == ["é", r"a\xff\xfe"]
        assert file.metadata["n"] == r"x\xe2"


def test_array_of_bools_that_are_none(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw.gguf([raw.array("b", ValueType.BOOL, 2, b"\x01\x02")]))
    with GGUFFile(path) as file, pytest.raises(GGUFError, match="b: a bool is neither 0 nor 1"):
        file.metadata["b"]


def test_file_that_changes_after_it_was_opened(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw.gguf([raw.array("t", ValueType.STRING, 2, raw.string("a") + raw.string("b"))]))
    with GGUFFile(path) as file:
        with open(path, "r+b") as f:
            f.seek(path.stat().st_size - 18)
            f.write(b"\xff\xff\xff\xff")
        with pytest.raises(GGUFError, match="has changed in the file"):
            file.metadata["t"]


def test_opening_a_large_vocabulary(tmp_path):
    path = tmp_path / "vocabulary.gguf"
    writer = GGUFWriter(path)
    writer.add("tokenizer.ggml.tokens", [f"▁token{i}" for i in range(262144)])
    writer.add("tokenizer.ggml.scores", -np.arange(262144, dtype=np.float32))
    writer.write()
    tracemalloc.start()
    try:
        GGUFFile(path).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, "opening must step over strings without decoding them"
