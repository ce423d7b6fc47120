"""Metadata: typed access, and errors for missing values and other types."""

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
        ("get_int", "x", "missing in the metadata; must be an integer"),
        ("get_int", "f32", r"is FLOAT32 0\.5, but must be an integer"),
        ("get_int", "yes", "is BOOL True, but must be an integer"),
        ("get_int", "tokens", "is an array of 5 STRING, but must be an integer"),
        ("get_float", "general.architecture", "is STRING 'llama', but must be a number"),
        ("get_bool", "u8", "is UINT8 200, but must be a bool"),
        ("get_str", "i8", "is INT8 -100, but must be a string"),
        ("get_strs", "scores", "is an array of 3 FLOAT32, but must be an array of strings"),
        ("get_array", "tokens", "is an array of 5 STRING, but must be an array of numbers"),
        ("get_array", "i32", "is INT32 -5, but must be an array of numbers"),
    ],
)
def test_wrong_type(metadata, method, key, says):
    with pytest.raises(GGUFError, match=says):
        getattr(metadata, method)(key)


def test_wrong_length(metadata):
    with pytest.raises(GGUFError, match="must be an array of 7 numbers, or one for all, but it has 4"):
        metadata.get_array("token_type", 7)


def test_arrays_are_decoded_once_and_read_only(metadata):
    assert metadata["tokens"] is metadata["tokens"]
    assert not metadata["scores"].flags.writeable


def test_fields(metadata):
    assert metadata.field("u16").type == ValueType.UINT16
    field = metadata.field("tokens")
    assert (field.type, field.element, field.n) == (ValueType.ARRAY, ValueType.STRING, 5)
    assert len(describe(metadata.field("general.name"))) < 100
    with pytest.raises(KeyError):
        metadata["x"]


def test_invalid_utf8_in_strings(tmp_path):
    """A broken name or token must not prevent loading a model: its bytes are escaped."""
    path = tmp_path / "x.gguf"
    strings = raw.string("é") + raw.string(b"a\xff\xfe")
    path.write_bytes(raw.gguf([raw.array("t", ValueType.STRING, 2, strings), raw.value("n", 8, raw.string(b"x\xe2"))]))
    with GGUFFile(path) as file:
        assert file.metadata["t"] == ["é", r"a\xff\xfe"]
        assert file.metadata["n"] == r"x\xe2"


def test_array_of_invalid_bools(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw.gguf([raw.array("b", ValueType.BOOL, 2, b"\x01\x02")]))
    with GGUFFile(path) as file, pytest.raises(GGUFError, match="b: a bool has a value other than 0 or 1"):
        file.metadata["b"]


def test_file_changed_after_opening(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(raw.gguf([raw.array("t", ValueType.STRING, 2, raw.string("a") + raw.string("b"))]))
    with GGUFFile(path) as file:
        with open(path, "r+b") as f:
            f.seek(path.stat().st_size - 18)
            f.write(b"\xff\xff\xff\xff")
        with pytest.raises(GGUFError, match="the file has changed"):
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
