"""Invalid files: the error says what is wrong."""

import struct

import pytest

from realizar.errors import GGUFError
from realizar.gguf import GGMLType, GGUFFile, ValueType
from tests.gguf import raw

HUGE = 2**64 - 1
ARCH = raw.value("general.architecture", ValueType.STRING, raw.string("llama"))
F32X4 = bytes(16)

BAD = {
    "Q2_0 with blocks of 128": (
        raw.gguf(
            tensors=[raw.tensor("a", (256, 8), GGMLType.Q2_0), raw.tensor("b", (4,), offset=544)], data=bytes(576)
        ),
        r"a: its type 42 is Q2_0, but it has 544 bytes instead of 576.*PQ2_0 \(142\)",
    ),
    "last Q2_0 with blocks of 128": (
        raw.gguf(tensors=[raw.tensor("a", (256, 8), GGMLType.Q2_0)], data=bytes(544)),
        "an old file of PrismML's fork",
    ),
    "empty": (b"", "is empty"),
    "magic": (b"ABCD" + bytes(100), "starts with b'ABCD' instead of b'GGUF'"),
    "short": (b"GG", "starts with b'GG'"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    "html": (b"<!DOCTYPE html><html></html>", "a web page"),
    "ggjt": (b"tjgg" + bytes(30), "old GGJT"),
    "only magic": (b"GGUF", "version: needs 4 bytes at offset 4, but the file ends at 4"),
    "version 1": (raw.gguf(version=1), "GGUF version 1: only versions 2 and 3"),
    "version 4": (raw.gguf(version=4), "GGUF version 4"),
    "version 0": (raw.gguf(version=0), "GGUF version 0"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "many tensors": (raw.gguf(n_tensors=HUGE), "number of tensors: is 18446744073709551615"),
    "many values": (raw.gguf(n_values=HUGE), "number of metadata values: is 18446744073709551615"),
    "one value too many": (raw.gguf([ARCH], n_values=2), "number of metadata values|key of metadata value 1"),
    "long key": (
        raw.gguf([struct.pack("<Q", HUGE) + bytes(20)]),
        "key of metadata value 0: needs 18446744073709551615 bytes",
    ),
    "key is not UTF-8": (raw.gguf([raw.value(b"\xff", 0, b"\0")]), "key of metadata value 0: is not UTF-8"),
    "key twice": (raw.gguf([ARCH, ARCH]), r"general\.architecture: occurs twice in the metadata"),
    "value type": (raw.gguf([raw.value("k", 13, bytes(8))]), "k: its value type is 13, but valid types are 0 to 12"),
    "bool": (raw.gguf([raw.value("k", ValueType.BOOL, b"\x02")]), "k: is a bool with value 2"),
    "long string": (raw.gguf([raw.value("k", 8, struct.pack("<Q", 2**40))]), "k: needs 1099511627776 bytes"),
    "array of arrays": (raw.gguf([raw.array("k", 9, 1, bytes(30))]), "k: is an array of arrays"),
    "element type": (raw.gguf([raw.array("k", 99, 1, bytes(30))]), "elements of k: its value type is 99"),
    "long array": (raw.gguf([raw.array("k", 4, 2**62, bytes(30))]), "length of k: is 4611686018427387904"),
    "long string array": (
        raw.gguf([raw.array("k", 8, 2**61, bytes(30))]),
        "length of k: is 2305843009213693952",
    ),
    "string array past the end": (
        raw.gguf([raw.array("k", 8, 2, raw.string("a") + struct.pack("<Q", 50))]),
        "k: its 2 strings extend past the end",
    ),
    "string array with a huge length": (
        raw.gguf([raw.array("k", 8, 2, struct.pack("<Q", HUGE) + bytes(8))]),
        "k: its 2 strings extend past the end",
    ),
    "alignment 0": (
        raw.gguf([raw.u32("general.alignment", 0)]),
        "UINT32 0, but must be a UINT32 power of two",
    ),
    "alignment 24": (raw.gguf([raw.u32("general.alignment", 24)]), r"general\.alignment: is UINT32 24"),
    "alignment 4": (raw.gguf([raw.u32("general.alignment", 4)]), r"general\.alignment: is UINT32 4"),
    "alignment as a string": (
        raw.gguf([raw.value("general.alignment", 8, raw.string("32"))]),
        r"general\.alignment: is STRING",
    ),
    "tensor twice": (
        raw.gguf(tensors=[raw.tensor("a", (4,)), raw.tensor("a", (4,), offset=32)], data=bytes(64)),
        "a: two tensors have this name",
    ),
    "no dimensions": (raw.gguf(tensors=[raw.tensor("a", ())], data=F32X4), "a: has 0 dimensions"),
    "five dimensions": (raw.gguf(tensors=[raw.tensor("a", (1,) * 5)], data=F32X4), "a: has 5 dimensions"),
    "many dimensions": (
        raw.gguf(tensors=[raw.string("a") + struct.pack("<I", 2**32 - 1) + bytes(40)]),
        "a: has 4294967295 dimensions",
    ),
    "no elements": (raw.gguf(tensors=[raw.tensor("a", (4, 0))], data=F32X4), r"a: its shape is \(0, 4\)"),
    "product that overflows": (
        raw.gguf(tensors=[raw.tensor("a", (2**32, 2**32, 2**32, 2**32))], data=F32X4),
        f"a: needs {4 * 2**128} bytes",
    ),
    "product that wraps to 0": (
        raw.gguf(tensors=[raw.tensor("a", (2**32, 2**32))], data=F32X4),
        f"a: needs {4 * 2**64} bytes",
    ),
    "unknown type": (raw.gguf(tensors=[raw.tensor("a", (4,), 4)], data=F32X4), "a: its type is 4"),
    "row of no whole blocks": (
        raw.gguf(tensors=[raw.tensor("a", (100,), GGMLType.Q4_K)], data=bytes(200)),
        "a: its row length 100 is not a multiple of 256, the block of Q4_K",
    ),
    "askew": (raw.gguf(tensors=[raw.tensor("a", (4,), offset=8)], data=bytes(64)), "a: its offset 8"),
    "offset past the end": (
        raw.gguf(tensors=[raw.tensor("a", (4,), offset=2**64 - 32)], data=F32X4),
        "a: needs 16 bytes at offset 18446744073709551648, but the file ends at 80",
    ),
    "data cut short": (
        raw.gguf(tensors=[raw.tensor("a", (4,))], data=bytes(15)),
        "a: needs 16 bytes at offset 64, but the file ends at 79; the download may be incomplete",
    ),
    "no data": (raw.gguf(tensors=[raw.tensor("a", (4,))]), "a: needs 16 bytes at offset 64"),
    "overlap": (
        raw.gguf(tensors=[raw.tensor("a", (9,)), raw.tensor("b", (4,), offset=32)], data=bytes(64)),
        "b: overlaps a in the file",
    ),
    "same place": (
        raw.gguf(tensors=[raw.tensor("a", (4,)), raw.tensor("b", (4,))], data=bytes(64)),
        "b: overlaps a in the file",
    ),
}


@pytest.mark.parametrize("load", ["mmap", "read"])
@pytest.mark.parametrize("case", BAD)
def test_invalid_files(tmp_path, case, load):
    data, says = BAD[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(GGUFError, match=says) as caught:
        GGUFFile(path, load)
    message = str(caught.value)
    assert "bad.gguf" in message
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize("version", [2, 3])
def test_valid_handwritten_file(tmp_path, version):
    path = tmp_path / "good.gguf"
    tensors = [raw.tensor("b", (4,), offset=32), raw.tensor("a", (8,))]
    path.write_bytes(raw.gguf([ARCH], tensors, bytes(range(48)), version=version))
    with GGUFFile(path) as file:
        assert file.version == version
        assert file.data("a").tobytes() == bytes(range(32))
        assert file.data("b").tobytes() == bytes(range(32, 48))


def test_error_messages_are_on_one_line(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(raw.gguf(tensors=[raw.tensor("a\n\x1b[31m" + "x" * 1000, (4,))]))
    with pytest.raises(GGUFError) as caught:
        GGUFFile(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
