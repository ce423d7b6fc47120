"""GGUFFile: round trips with the writer, zero-copy views, load modes, close and paths."""

import gc
import os
from types import SimpleNamespace

import gguf
import numpy as np
import psutil
import pytest

from realizar.errors import GGUFError, ModelNotFoundError, ParameterError
from realizar.gguf import GGMLType, GGUFFile, GGUFWriter
from tests.gguf.conftest import SHAPES, VALUES


@pytest.mark.parametrize("load", ["mmap", "read"])
def test_round_trip(model, load):
    path, data = model
    with GGUFFile(path, load) as file:
        assert file.path == path
        assert file.n_bytes == path.stat().st_size
        assert file.version == 3
        assert file.architecture == "llama"
        assert list(file.metadata) == [*VALUES, "nothing"]
        for key, value in VALUES.items():
            np.testing.assert_array_equal(file.metadata[key], value)
        assert file.metadata["nothing"] == []
        assert list(file.tensors) == list(SHAPES)
        for name, shape in SHAPES.items():
            info = file.tensors[name]
            assert (info.name, info.shape, info.type) == (name, shape, GGMLType[name])
            assert info.offset % 32 == 0
            view = file.data(name)
            assert view.shape == (np.prod(shape[:-1]), info.row_bytes)
            assert view.nbytes == info.n_bytes
            assert info.n_elements == np.prod(shape)
            np.testing.assert_array_equal(view, data[name].reshape(view.shape))


def test_gguf_package_reads_our_files(model):
    path, _ = model
    reader = gguf.GGUFReader(path)
    with GGUFFile(path) as file:
        theirs = {key for key in reader.fields if not key.startswith("GGUF.")}
        assert theirs == set(file.metadata)
        for key in file.metadata:
            if key != "nothing":
                np.testing.assert_array_equal(reader.fields[key].contents(), file.metadata[key])
        for tensor in reader.tensors:
            info = file.tensors[tensor.name]
            assert tuple(tensor.shape[::-1]) == info.shape
            assert tensor.data_offset == info.offset
            np.testing.assert_array_equal(tensor.data.reshape(-1).view(np.uint8), file.data(info.name).reshape(-1))


def test_we_read_files_of_the_gguf_package(tmp_path):
    path = tmp_path / "theirs.gguf"
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(7)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([1.0, 2.0])
    writer.add_custom_alignment(64)
    writer.add_tensor("x", x)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUFFile(path) as file:
        assert file.architecture == "qwen2"
        assert file.metadata.get_int("qwen2.block_count") == 7
        assert file.metadata.get_strs("tokenizer.ggml.tokens") == ["a", "b"]
        assert file.tensors["x"].offset % 64 == 0
        np.testing.assert_array_equal(file.data("x").view(np.float32), x)


@pytest.mark.parametrize("load", ["mmap", "read"])
def test_views_are_read_only_and_outlive_the_file(model, load):
    path, data = model
    file = GGUFFile(path, load)
    view = file.data("Q4_K")
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.setflags(write=True)
    file.close()
    file.close()
    np.testing.assert_array_equal(view, data["Q4_K"])


def test_closed(model):
    file = GGUFFile(model[0])
    assert file.metadata["tokens"][0] == "<s>"
    file.close()
    assert file.metadata["tokens"][0] == "<s>"
    assert file.metadata["f32"] == 0.5
    with pytest.raises(GGUFError, match="scores: the file is closed"):
        file.metadata["scores"]
    with pytest.raises(GGUFError, match="F32: the file is closed"):
        file.data("F32")


def test_views_are_zero_copy(model):
    path, _ = model
    with GGUFFile(path) as file:
        assert file.data("F32").base is not None
        one, two = file.data("Q4_K"), file.data("Q4_K")
        assert np.shares_memory(one, two)


def test_memory_is_released(tmp_path):
    path = tmp_path / "large.gguf"
    n = 1 << 26
    writer = GGUFWriter(path)
    writer.add_tensor("x", np.zeros(n, np.uint8), (n,), GGMLType.I8)
    writer.write()
    process = psutil.Process()
    before = process.memory_info().rss
    file = GGUFFile(path, load="read")
    assert process.memory_info().rss - before > n // 2
    file.close()
    gc.collect()
    assert process.memory_info().rss - before < n // 2


def test_no_such_tensor(model):
    with GGUFFile(model[0]) as file, pytest.raises(GGUFError, match=r"model\.gguf: blk\.7: no tensor"):
        file.data("blk.7")


def test_no_architecture(tmp_path):
    GGUFWriter(tmp_path / "x.gguf").write()
    with GGUFFile(tmp_path / "x.gguf") as file:
        assert len(file.tensors) == 0
        with pytest.raises(GGUFError, match=r"general\.architecture: missing in the metadata"):
            _ = file.architecture


def test_no_such_file(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no such file"):
        GGUFFile(tmp_path / "missing.gguf")


def test_not_a_file(tmp_path):
    with pytest.raises(GGUFError, match="not a regular file"):
        GGUFFile(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GGUFError, match="not a regular file"):
        GGUFFile(tmp_path / "pipe")


def test_invalid_path(tmp_path):
    with pytest.raises(GGUFError, match="cannot be read"):
        GGUFFile("a\0b")


def test_file_that_shrinks_while_it_is_read(model, monkeypatch):
    size = model[0].stat().st_size
    monkeypatch.setattr(os, "fstat", lambda descriptor: SimpleNamespace(st_size=size + 100))
    with pytest.raises(GGUFError, match=f"ended at {size} of {size + 100} bytes"):
        GGUFFile(model[0], load="read")


def test_unknown_load(model):
    with pytest.raises(ParameterError, match="load='copy'"):
        GGUFFile(model[0], load="copy")


def test_repr(model):
    with GGUFFile(model[0]) as file:
        assert repr(file) == f"<GGUFFile model.gguf: 4 tensors, {file.n_bytes} bytes>"
        assert repr(file.metadata) == "<Metadata of model.gguf: 21 keys>"
