"""Split models: parts open as one file; inconsistent parts raise an error."""

import numpy as np
import pytest

from realizar.errors import GGUFError, ModelNotFoundError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter


def write_part(folder, part, count, tensors, total, name="m", **values):
    path = folder / f"{name}-{part + 1:05}-of-{count:05}.gguf"
    writer = GGUFWriter(path)
    if part == 0:
        writer.add("general.architecture", "llama")
    for key, value in {"no": part, "count": count, "tensors_count": total, **values}.items():
        writer.add(f"split.{key.replace('_', '.')}", value)
    for tensor in tensors:
        data = np.full((2, 4), ord(tensor), np.uint8)
        writer.add_tensor(tensor, data, (2, 1), GGMLType.F32)
    writer.write()
    return path


@pytest.fixture
def parts(tmp_path):
    return [write_part(tmp_path, i, 3, names, 4) for i, names in enumerate(["a", "bc", "d"])]


@pytest.mark.parametrize("load", ["mmap", "read"])
def test_opens_as_one(parts, load):
    with GGUFFile(parts[0], load) as file:
        assert list(file.tensors) == ["a", "b", "c", "d"]
        assert [info.part for info in file.tensors.values()] == [0, 1, 1, 2]
        assert file.n_bytes == sum(path.stat().st_size for path in parts)
        assert file.architecture == "llama"
        for name in file.tensors:
            np.testing.assert_array_equal(file.data(name), np.full((2, 4), ord(name)))


def test_not_the_first_part(parts):
    with pytest.raises(GGUFError, match=r"is part 2 of a split model; open the first part, m-00001-of-00003\.gguf"):
        GGUFFile(parts[1])


def test_missing_part(parts):
    parts[2].unlink()
    with pytest.raises(ModelNotFoundError, match=r"m-00003-of-00003\.gguf: no such file"):
        GGUFFile(parts[0])


def test_truncated_part(parts):
    parts[1].write_bytes(parts[1].read_bytes()[:-27])  # 24 bytes of padding, and 3 of the tensor
    with pytest.raises(GGUFError, match=r"m-00002-of-00003\.gguf: c: needs 8 bytes"):
        GGUFFile(parts[0])


def test_renamed_part(parts):
    other = parts[0].rename(parts[0].with_name("model.gguf"))
    with pytest.raises(GGUFError, match=r"its name must end in -00001-of-00003\.gguf"):
        GGUFFile(other)


def test_swapped_parts(parts):
    data = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    parts[2].write_bytes(data)
    with pytest.raises(GGUFError, match="must be part 2 of 3, but its metadata says 3 of 3"):
        GGUFFile(parts[0])


def test_tensor_in_two_parts(tmp_path, parts):
    write_part(tmp_path, 2, 3, "a", 4)
    with pytest.raises(GGUFError, match="a: a tensor with this name is also in an earlier part"):
        GGUFFile(parts[0])


def test_wrong_tensor_count(tmp_path, parts):
    write_part(tmp_path, 2, 3, "de", 4)
    with pytest.raises(GGUFError, match=r"split\.tensors\.count is 4, but the parts hold 5"):
        GGUFFile(parts[0])


def test_absurd_count(tmp_path):
    path = write_part(tmp_path, 0, 99999, "a", 1)
    with pytest.raises(ModelNotFoundError, match=r"m-00002-of-99999\.gguf"):
        GGUFFile(path)


def test_split_into_one_part(tmp_path):
    with GGUFFile(write_part(tmp_path, 0, 1, "a", 1)) as file:
        assert list(file.tensors) == ["a"]
