"""GGUFWriter: value types, invalid arguments, and atomic writes."""

import os

import numpy as np
import pytest

from realizar.errors import ParameterError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter, ValueType


@pytest.fixture
def writer(tmp_path):
    return GGUFWriter(tmp_path / "x.gguf")


def written(writer):
    writer.write()
    with GGUFFile(writer.path) as file:
        for key in file.metadata:
            file.metadata[key]  # decode while it is open
        return file.metadata


@pytest.mark.parametrize(
    ("value", "type", "expected"),
    [
        (5, None, ValueType.UINT32),
        (2**32, None, ValueType.INT64),
        (2**63, None, ValueType.UINT64),
        (-5, None, ValueType.INT32),
        (-(2**40), None, ValueType.INT64),
        (1.5, None, ValueType.FLOAT32),
        (True, None, ValueType.BOOL),
        ("s", None, ValueType.STRING),
        (np.uint16(3), None, ValueType.UINT16),
        (np.float64(3), None, ValueType.FLOAT64),
        (np.float16(3), None, ValueType.FLOAT32),
        (5, ValueType.UINT16, ValueType.UINT16),
        (5, ValueType.FLOAT32, ValueType.FLOAT32),
        (np.nan, None, ValueType.FLOAT32),
    ],
)
def test_type_of_a_value(writer, value, type, expected):
    writer.add("k", value, type)
    metadata = written(writer)
    assert metadata.field("k").type == expected
    np.testing.assert_array_equal(metadata["k"], value)


@pytest.mark.parametrize(
    ("value", "type", "expected"),
    [
        ([1, 2], None, ValueType.INT32),
        ((1, 2**31), None, ValueType.INT64),
        ([1, 2.5], None, ValueType.FLOAT32),
        ([True, False], None, ValueType.BOOL),
        (["a", ""], None, ValueType.STRING),
        ([], ValueType.STRING, ValueType.STRING),
        ([], ValueType.INT32, ValueType.INT32),
        (np.array([1, 2], np.uint8), None, ValueType.UINT8),
        ([1, 2], ValueType.UINT64, ValueType.UINT64),
        ([2**64 - 1, 1], ValueType.UINT64, ValueType.UINT64),
    ],
)
def test_type_of_an_array(writer, value, type, expected):
    writer.add("k", value, type)
    metadata = written(writer)
    field = metadata.field("k")
    assert (field.type, field.element, field.n) == (ValueType.ARRAY, expected, len(value))
    np.testing.assert_array_equal(metadata["k"], value)


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (256, ValueType.UINT8),
        (-1, ValueType.UINT32),
        (2**64, None),
        (1.5, ValueType.INT32),
        (1e39, ValueType.FLOAT32),
        (1, ValueType.BOOL),
        (True, ValueType.INT32),
        ("s", ValueType.INT32),
        (1, ValueType.STRING),
        (1, ValueType.ARRAY),
        ([], None),
        ([[1]], None),
        ([[1], [1, 2]], None),
        (["a", 1], None),
        ([1, "a"], None),
        ([1, -1], ValueType.UINT8),
        (None, None),
        ({}, None),
        (1j, None),
        (b"bytes", None),
    ],
)
def test_invalid_values(writer, value, type):
    with pytest.raises(ParameterError, match="k: "):
        writer.add("k", value, type)


def test_text_with_lone_surrogates(writer):
    with pytest.raises(ParameterError, match=r"k: .*surrogate"):
        writer.add("k", "\ud800")
    writer.add("k", 1)
    writer.add_tensor("\udcff", np.zeros(4, np.uint8), (1,), GGMLType.F32)
    with pytest.raises(ParameterError, match="surrogate"):
        writer.write()
    assert not writer.path.exists()


def test_duplicate_names(writer):
    writer.add("k", 1)
    with pytest.raises(ParameterError, match="k: was already added"):
        writer.add("k", 2)
    writer.add_tensor("t", np.zeros(4, np.uint8), (1,), GGMLType.F32)
    with pytest.raises(ParameterError, match="t: was already added"):
        writer.add_tensor("t", np.zeros(4, np.uint8), (1,), GGMLType.F32)


@pytest.mark.parametrize(
    ("data", "shape", "type", "says"),
    [
        (np.zeros(5, np.uint8), (1,), GGMLType.F32, r"is 4 bytes of uint8, but the data is 5 bytes"),
        (np.zeros(1, np.float32), (1,), GGMLType.F32, "4 bytes of float32"),
        (np.zeros(4, np.uint8), (), GGMLType.F32, "1 to 4 dimensions"),
        (np.zeros(4, np.uint8), (1,) * 5, GGMLType.F32, "1 to 4 dimensions"),
        (np.zeros(0, np.uint8), (2, 0), GGMLType.F32, "dimensions of at least 1"),
        (np.zeros(4, np.uint8), (33,), GGMLType.Q8_0, "not a multiple of 32"),
    ],
)
def test_data_that_does_not_match_shape_and_type(writer, data, shape, type, says):
    with pytest.raises(ParameterError, match=says):
        writer.add_tensor("t", data, shape, type)


@pytest.mark.parametrize("value", [0, 7, 48, 4, -32, "64", None])
def test_bad_alignment(writer, value):
    with pytest.raises(ParameterError, match=r"general\.alignment"):
        writer.add("general.alignment", value)


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_alignment(writer, alignment):
    writer.add("general.alignment", alignment)
    for i in range(3):
        writer.add_tensor(str(i), np.full(12, i, np.uint8), (3,), GGMLType.F32)
    with pytest.raises(ParameterError, match="already added"):
        writer.add("general.alignment", alignment)
    writer.write()
    with GGUFFile(writer.path) as file:
        assert all(info.offset % alignment == 0 for info in file.tensors.values())
        assert [int(file.data(name)[0, 0]) for name in file.tensors] == [0, 1, 2]


def test_alignment_after_a_tensor(writer):
    writer.add_tensor("t", np.zeros(4, np.uint8), (1,), GGMLType.F32)
    with pytest.raises(ParameterError, match="before the first tensor"):
        writer.add("general.alignment", 64)


def test_non_contiguous_data(writer):
    data = np.arange(64, dtype=np.uint8).reshape(8, 8)
    writer.add_tensor("t", data[:, ::2], (8,), GGMLType.F32)
    writer.write()
    with GGUFFile(writer.path) as file:
        np.testing.assert_array_equal(file.data("t").reshape(8, 4), data[:, ::2])


def test_existing_file_is_replaced(writer):
    writer.path.write_bytes(b"old")
    writer.add("k", 1)
    assert written(writer)["k"] == 1
    assert os.listdir(writer.path.parent) == ["x.gguf"]


def test_failed_write_leaves_no_file(writer, monkeypatch):
    writer.path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write()
    assert os.listdir(writer.path.parent) == ["x.gguf"]
    assert writer.path.read_bytes() == b"old"
