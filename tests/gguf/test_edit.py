"""Copies of files: splitting, merging and setting values keep every other byte of metadata and tensors."""

import itertools
import os
import struct
from os import replace

import numpy as np
import pytest

from realizar.errors import GGUFError, ModelNotFoundError, ParameterError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter, ValueType, edit
from realizar.gguf.edit import merge, set_value, split
from realizar.gguf.parse import ALIGNMENT_KEY


def contents(path):
    """The metadata, encoded, and the tensors of a file."""
    with GGUFFile(path) as file:
        values = {key: file.metadata.encoded(key) for key in file.metadata if not key.startswith("split.")}
        tensors = {name: (info.shape, info.type, file.data(name).tobytes()) for name, info in file.tensors.items()}
    return values, tensors


@pytest.fixture
def many(tmp_path):
    """A file of ten tensors of 40 bytes, 64 with padding to 64."""
    writer = GGUFWriter(tmp_path / "many.gguf")
    writer.add("general.architecture", "llama")
    writer.add(ALIGNMENT_KEY, 64)
    for i in range(10):
        writer.add_tensor(f"t{i}", np.full(40, i, np.uint8), (10,), GGMLType.F32)
    writer.write()
    return writer.path


@pytest.mark.parametrize(
    ("limits", "counts"),
    [
        ({"max_tensors": 4}, [4, 4, 2]),
        ({"max_tensors": 10}, [10]),
        ({"max_bytes": 200}, [3, 3, 3, 1]),
        ({"max_bytes": 192}, [3, 3, 3, 1]),
        ({"max_bytes": 10}, [1] * 10),  # a tensor that is larger than the limit has a part of its own
        ({"max_bytes": 200, "max_tensors": 2}, [2] * 5),
    ],
)
def test_split_and_merge(many, tmp_path, limits, counts):
    paths = split(many, tmp_path / "part", **limits)
    n = len(counts)
    assert [path.name for path in paths] == [f"part-{i + 1:05}-of-{n:05}.gguf" for i in range(n)]
    assert contents(paths[0]) == contents(many)
    with GGUFFile(paths[0]) as file:
        assert np.bincount([info.part for info in file.tensors.values()]).tolist() == counts
        fields = [file.metadata.field(f"split.{key}") for key in ("no", "count", "tensors.count")]
    assert [(field.type.name, field.value) for field in fields] == [("UINT16", 0), ("UINT16", n), ("INT32", 10)]
    merge(paths[0], tmp_path / "merged.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == many.read_bytes()


def test_every_type_of_value_survives(model, tmp_path):
    (only,) = split(model[0], tmp_path / "part", max_tensors=100)
    merge(only, tmp_path / "merged.gguf")
    assert (tmp_path / "merged.gguf").read_bytes() == model[0].read_bytes()


def test_a_string_that_is_no_utf8_survives(model, tmp_path):
    data = model[0].read_bytes().replace("é▁😀".encode(), b"\xff" * 9)
    (tmp_path / "a.gguf").write_bytes(data)
    set_value(tmp_path / "a.gguf", "i32", "-5", target=tmp_path / "b.gguf")
    assert (tmp_path / "b.gguf").read_bytes() == data


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("general.name", "a new [name]", "a new [name]"),
        ("u8", "255", 255),
        ("i64", "-9", -9),
        ("u64", "18446744073709551615", 2**64 - 1),
        ("f32", "3", 3.0),
        ("yes", "false", False),
        ("tokens", '["a", "é"]', ["a", "é"]),
        ("scores", "[1, 2.5]", [1.0, 2.5]),
        ("flags", "[false]", [False]),
        ("nothing", "[]", []),
        (ALIGNMENT_KEY, "64", 64),
    ],
)
def test_set(model, tmp_path, key, text, value):
    path = tmp_path / "changed.gguf"
    path.write_bytes(model[0].read_bytes())
    before, tensors = contents(path)
    set_value(path, key, text, "UINT32" if key == ALIGNMENT_KEY else None)
    after, same = contents(path)
    assert same == tensors
    assert {k: v for k, v in after.items() if k != key} == {k: v for k, v in before.items() if k != key}
    with GGUFFile(path) as file:
        found, field = file.metadata[key], file.metadata.field(key)
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == value
    if key in before:
        assert after[key][:4] == before[key][:4]
        assert list(after) == list(before)
    assert field.type != ValueType.ARRAY or field.element is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["changed.gguf"]


def test_set_a_new_key(model, tmp_path):
    out = tmp_path / "out.gguf"
    set_value(model[0], "new.list", "[1, 2]", "int16", out)
    set_value(out, "new.text", "[1, 2]", "STRING")
    with GGUFFile(out) as file:
        assert list(file.metadata)[-2:] == ["new.list", "new.text"]
        assert file.metadata["new.list"].dtype == np.int16
        assert file.metadata["new.text"] == "[1, 2]"


@pytest.mark.parametrize(
    ("key", "text", "type_name", "message"),
    [
        ("u8", "256", None, "u8: 256 cannot be stored as UINT8"),
        ("u8", "x", None, "u8: 'x' is not a UINT8"),
        ("u8", "[1]", None, r"u8: '\[1\]' is not a UINT8"),
        ("u8", "1", "INT8", "u8: is UINT8 200, and cannot become INT8"),
        ("u8", "1", "int3", "type 'int3': must be one of UINT8, "),
        ("yes", "1", None, "yes: 1 cannot be stored as BOOL"),
        ("scores", "1.5", None, "scores: '1.5' is not a JSON list of FLOAT32"),
        ("tokens", "[1]", None, "tokens: .* cannot be stored as STRING"),
        (
            "general.names",
            "x",
            None,
            "general.names: .* has no such key, and a new one needs a type; did you mean general.name",
        ),
        ("split.count", "1", "UINT16", "split.count: describes the parts"),
        ("", "1", "UINT16", "'': is no name of a metadata value"),
        ("a\x1b[2J", "1", "UINT16", "is no name of a metadata value"),
    ],
)
def test_values_that_do_not_fit(model, tmp_path, key, text, type_name, message):
    path = tmp_path / "same.gguf"
    path.write_bytes(model[0].read_bytes())
    with pytest.raises(ParameterError, match=message):
        set_value(path, key, text, type_name)
    assert path.read_bytes() == model[0].read_bytes()


def test_set_in_a_split_model(many, tmp_path):
    first, *others = split(many, tmp_path / "part", max_tensors=4)
    before = [path.read_bytes() for path in others]
    set_value(first, "general.architecture", "qwen2")
    assert [path.read_bytes() for path in others] == before
    values, tensors = contents(first)
    assert values["general.architecture"] == struct.pack("<IQ", ValueType.STRING, 5) + b"qwen2"
    assert tensors == contents(many)[1]


def test_an_interrupted_split_leaves_no_mixture(many, tmp_path, monkeypatch):
    first = split(many, tmp_path / "part", max_tensors=4)[0]
    set_value(many, "general.architecture", "qwen2")
    monkeypatch.setattr(edit, "sync", fail_at(2, lambda stream: None))
    with pytest.raises(KeyboardInterrupt):
        split(many, tmp_path / "part", max_tensors=4)
    assert contents(first)[0]["general.architecture"].endswith(b"llama")
    for call in range(3):
        monkeypatch.setattr(os, "replace", fail_at(call, replace))
        with pytest.raises(KeyboardInterrupt):
            split(many, tmp_path / "part", max_tensors=4)
        with pytest.raises(ModelNotFoundError):
            GGUFFile(first)
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    split(many, tmp_path / "part", max_tensors=4)
    assert contents(first)[0]["general.architecture"].endswith(b"qwen2")


def fail_at(n, function):
    """Return a function that fails at its nth call, as an interruption would."""
    calls = itertools.count()

    def call(*args):
        if next(calls) == n:
            raise KeyboardInterrupt
        return function(*args)

    return call


def test_wrong_limits(many, tmp_path):
    with pytest.raises(ParameterError, match="neither max_tensors nor max_bytes"):
        split(many, tmp_path / "part")
    with pytest.raises(ParameterError, match="max_bytes=0: must be positive"):
        split(many, tmp_path / "part", max_bytes=0)
    with pytest.raises(ParameterError, match="prefix='': must end in the beginning"):
        split(many, "", max_tensors=1)
    with pytest.raises(GGUFError, match="open the first part"):
        merge(split(many, tmp_path / "part", max_tensors=4)[1], tmp_path / "merged.gguf")
