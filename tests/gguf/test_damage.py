"""Fuzzing: truncated files, flipped bytes, absurd counts; the result is a GGUFError or a readable file."""

import os
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realizar.errors import GGUFError
from realizar.gguf import GGUFFile
from realizar.gguf.parse import parse_header


def open_and_read_all(buffer):
    """Parse a file and read every value and tensor; return whether it was accepted."""
    view = memoryview(buffer)
    try:
        header = parse_header(view, "damaged")
        for key in header.metadata:
            header.metadata[key]
    except GGUFError:
        return False
    for info in header.tensors.values():
        assert len(view[info.offset : info.offset + info.n_bytes]) == info.n_bytes
        assert info.n_bytes % info.row_bytes == 0
    return True


@pytest.fixture(scope="module")
def good(model):
    return model[0].read_bytes()


@pytest.fixture(scope="module")
def header_bytes(model):
    with GGUFFile(model[0]) as file:
        return min(info.offset for info in file.tensors.values())


@pytest.fixture(scope="module")
def data_end(model):
    """The end of the last tensor; zeros follow up to the alignment."""
    with GGUFFile(model[0]) as file:
        return max(info.offset + info.n_bytes for info in file.tensors.values())


def test_truncated_anywhere(good, data_end):
    assert len(good) == -(-data_end // 32) * 32
    for end in range(len(good) + 1):
        assert open_and_read_all(good[:end]) == (end >= data_end), end


@pytest.mark.parametrize("load", ["mmap", "read"])
def test_file_truncated_at_every_64th_byte(good, tmp_path, load):
    for i in range(64):
        path = tmp_path / f"{i}.gguf"
        path.write_bytes(good[: len(good) * i // 64])
        with pytest.raises(GGUFError):
            GGUFFile(path, load)


@pytest.mark.parametrize("bits", [0xFF, 0x80, 0x01])
def test_every_header_byte_flipped(good, header_bytes, bits):
    for at in range(header_bytes):
        damaged = bytearray(good)
        damaged[at] ^= bits
        open_and_read_all(damaged)


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32, 2**61, 2**63 - 1, 2**63, 2**64 - 1])
def test_absurd_numbers(good, header_bytes, number):
    for at in range(4, header_bytes - 8):
        damaged = bytearray(good)
        struct.pack_into("<Q", damaged, at, number)
        open_and_read_all(damaged)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=400))
def test_random_bytes(data):
    open_and_read_all(data)
    open_and_read_all(b"GGUF\x03\0\0\0" + data)


@settings(deadline=None, max_examples=300)
@given(seed=st.data())
def test_replaced_pieces(good, header_bytes, seed):
    damaged = bytearray(good)
    for _ in range(seed.draw(st.integers(1, 4))):
        start = seed.draw(st.integers(8, header_bytes - 1))
        end = seed.draw(st.integers(start, min(start + 16, header_bytes)))
        damaged[start:end] = seed.draw(st.binary(max_size=16))
    open_and_read_all(damaged)


numbers = st.one_of(st.integers(0, 40), st.sampled_from([2**31, 2**32, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))


@settings(deadline=None, max_examples=300)
@given(ne=st.lists(numbers, max_size=5), type=st.integers(0, 45), offset=numbers, n_bytes=st.integers(0, 200))
@example(ne=[1, 2**63, 2], type=0, offset=0, n_bytes=8)
def test_random_tensor_infos(ne, type, offset, n_bytes):
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t"
    head += struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, type, offset)
    open_and_read_all(head + bytes(-len(head) % 32) + bytes(n_bytes))


def test_removed_file(good, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(good)
    with GGUFFile(path) as file:
        os.unlink(path)
        assert file.data("F32").nbytes == 20
