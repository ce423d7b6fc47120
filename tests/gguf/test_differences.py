"""Hashes of tensors and differences between files; names of types that only others read."""

import hashlib

import numpy as np
import pytest

from realizar.errors import GGUFError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from realizar.gguf.differences import differences, hash_tensors
from realizar.gguf.edit import set_value, split
from realizar.gguf.other_types import explain
from realizar.quants import quantize


def write(path, tensors, **values):
    writer = GGUFWriter(path)
    for key, value in values.items():
        writer.add(key, value)
    for name, (array, type_name) in tensors.items():
        writer.add_tensor(name, quantize(array, type_name), array.shape, GGMLType[type_name])
    writer.write()
    return path


def test_hashes(model, tmp_path):
    path, data = model
    with GGUFFile(path) as file:
        found = dict(hash_tensors(file))
    assert found == {
        **{name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in data.items()},
        None: hashlib.sha256(b"".join(array.tobytes() for array in data.values())).hexdigest(),
    }
    set_value(path, "i32", "7", target=tmp_path / "other.gguf")
    for other in (tmp_path / "other.gguf", split(path, tmp_path / "part", max_tensors=1)[0]):
        with GGUFFile(other) as file:
            assert dict(hash_tensors(file)) == found


def test_differences(tmp_path):
    x = np.random.default_rng(0).standard_normal((4, 64), np.float32)
    same, shape = (x, "F32"), (x.reshape(8, 32), "F32")
    a = write(tmp_path / "a.gguf", {"same": same, "type": (x, "F32"), "data": same, "shape": same, "a": same}, n=1, k=1)
    b = write(
        tmp_path / "b.gguf", {"shape": shape, "same": same, "type": (x, "Q8_0"), "data": (2 * x, "F32")}, k=2, n=1
    )
    with GGUFFile(a) as first, GGUFFile(b) as second:
        assert list(differences(first, first)) == []
        found = {each.name: each for each in differences(first, second)}
    assert set(found) == {"k", "type", "data", "shape", "a"}
    assert found["k"].first == {"type": "UINT32", "value": 1}
    assert found["data"].change == pytest.approx(1.0)
    assert 1e-4 < found["type"].change < 1e-2
    assert found["type"].second == {"type": "Q8_0", "shape": [4, 64], "n_bytes": 272}
    assert found["shape"].change is None
    assert (found["a"].second, found["a"].change) == (None, None)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (31, "Q4_0_4_4, which ggml no longer has; take a file with types of llama.cpp"),
        (36, "I2_S of Microsoft's BitNet"),
        (137, "IQ2_K, which only the fork ik_llama.cpp reads; take a file"),
        (144, "IQ4_KS, which only the fork ik_llama.cpp reads"),
        (9999, "which this version does not support"),
    ],
)
def test_types_of_others_are_named(tmp_path, number, message):
    path = write(tmp_path / "a.gguf", {"w": (np.ones(32, np.float32), "F32")})
    data = bytearray(path.read_bytes())
    at = data.index(b"w") + 1 + 4 + 8
    data[at : at + 4] = number.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(GGUFError, match=f"w: its type is {number}.*{message.split(';')[0]}"):
        GGUFFile(path)


def test_explained_types_are_none_that_can_be_read():
    for number in range(400):
        assert ("does not support" in explain(number)) or number not in set(GGMLType)
