"""Weights repacked for a GPU in C have the bytes of numpy's definition; needs no adapter."""

import numpy as np
import pytest

from realizar._kernels.repack import FORMATS as IN_C
from realizar._kernels.repack import repack
from realizar.backends.wgpu.forms import UNPACK, packed, packed_by_numpy
from realizar.quants import FORMATS

BASE_3 = {"TQ1_0", "PTQ1_0"}


def rows(type_name, n_rows, n_blocks):
    """Return rows of random bytes, each followed by bytes that are not its own."""
    n_bytes = n_blocks * FORMATS[type_name].n_bytes
    memory = np.random.default_rng(n_blocks).integers(0, 256, (n_rows, n_bytes + 3), np.uint8)
    memory.flags.writeable = False
    return memory[:, :n_bytes]


def same(found, expected):
    """Check that planes have the same names, shapes and bytes."""
    assert list(found) == list(expected)
    for name, plane in expected.items():
        np.testing.assert_array_equal(found[name], plane, err_msg=name, strict=True)


def test_formats():
    """All formats with codes are in C but those with digits of base 3."""
    assert set(UNPACK) - BASE_3 == IN_C


@pytest.mark.parametrize("type_name", sorted(IN_C))
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 8), (0, 2)])
def test_same_bytes(type_name, shape):
    data = rows(type_name, *shape)
    if len(data):
        same(repack(data, type_name), packed_by_numpy(data, type_name))
    assert all(len(plane) == len(data) for plane in packed(data, type_name).values())


@pytest.mark.parametrize("type_name", sorted(BASE_3))
def test_others_by_numpy(type_name):
    data = rows(type_name, 2, 3)
    same(packed(data, type_name), packed_by_numpy(data, type_name))


@pytest.mark.parametrize(
    ("data", "type_name"),
    [
        (rows("Q4_K", 2, 2)[:, :-1], "Q4_K"),
        (rows("Q4_K", 2, 4)[:, ::2], "Q4_K"),
        (rows("TQ1_0", 2, 2), "TQ1_0"),
    ],
    ids=["part of a block", "bytes apart", "not in C"],
)
def test_refuses(data, type_name):
    with pytest.raises(ValueError, match=r"whole blocks of 144|by numpy only"):
        repack(data, type_name)
