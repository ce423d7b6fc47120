"""Importance matrices in both forms, and damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from realizar.errors import GGUFError, ModelNotFoundError
from realizar.gguf import GGMLType, GGUFWriter
from realizar.gguf.imatrix import read_imatrix

F32 = np.float32


def write_imatrix(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    writer = GGUFWriter(path)
    writer.add("general.type", "imatrix")
    writer.add("imatrix.datasets", ["a.txt", "b.txt"])
    writer.add("imatrix.chunk_count", 3)
    writer.add("imatrix.chunk_size", 512)
    for name, array in tensors.items():
        writer.add_tensor(name, array.view(np.uint8), array.shape, GGMLType.F32)
    writer.write()
    return path


def legacy(name: bytes, n_calls: int, values: list[float], after: bytes = b"") -> bytes:
    head = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii", n_calls, len(values))
    return head + np.array(values, "<f4").tobytes() + after


def test_the_mean_squares_of_each_expert(tmp_path: Path) -> None:
    sums, counts = np.array([[2, 4, 6], [1, 1, 1]], F32), np.array([[2], [0]], F32)
    found = read_imatrix(write_imatrix(tmp_path / "m.gguf", {"w.in_sum2": sums, "w.counts": counts}))
    assert found.datasets == ("a.txt", "b.txt")
    assert (found.chunk_count, found.chunk_size) == (3, 512)
    np.testing.assert_array_equal(found.entries["w"].mean_squares(), [[1, 2, 3], [1, 1, 1]])


def test_the_older_form(tmp_path: Path) -> None:
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"w", 4, [4, 8], struct.pack("<ii", 7, 5) + b"a.txt"))
    found = read_imatrix(path)
    assert (found.chunk_count, found.datasets) == (7, ("a.txt",))
    np.testing.assert_array_equal(found.entries["w"].mean_squares(), [[1, 2]])
    path.write_bytes(legacy(b"w", 0, [4, 8]))
    np.testing.assert_array_equal(read_imatrix(path).entries["w"].mean_squares(), [[4, 8]])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"w.in_sum2": np.ones((1, 4), F32)}, "w.counts: no tensor"),
        ({"w.in_sum2": np.ones((2, 4), F32), "w.counts": np.ones((1, 1), F32)}, "2 experts, but counts of 1"),
        ({"w.in_sum2": np.full((1, 4), np.nan, F32), "w.counts": np.ones((1, 1), F32)}, "w: .*NaN"),
        ({"w.in_sum2": np.ones((1, 4), F32), "w.counts": -np.ones((1, 1), F32)}, "w: .*negative"),
        ({"w.weight": np.ones((1, 4), F32)}, "is not an importance matrix"),
    ],
)
def test_wrong_tensors(tmp_path: Path, tensors: dict[str, np.ndarray], message: str) -> None:
    path = write_imatrix(tmp_path / "m.gguf", tensors)
    with pytest.raises(GGUFError, match=message):
        read_imatrix(path)


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        read_imatrix(tmp_path / "none")
    whole, path = legacy(b"w", 4, [4, 8]), tmp_path / "m.dat"
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(GGUFError, match="older form"):
            read_imatrix(path)
