"""The hardware probes read all bytes and execute the operations that they count, on every ISA level."""

import platform
import re
import shutil
import subprocess

import numpy as np
import pytest

from realizar._kernels import probe, table

MACS = {"int8": probe.int8_macs, "f32": probe.f32_macs}


@pytest.mark.parametrize("n_bytes", [0, 1, 255, 256, 257, 4096 + 63])
def test_read_sums_every_byte(n_bytes):
    data = np.zeros(n_bytes, np.uint8)
    assert probe.read(data) == 0
    for i in range(n_bytes):
        data[i] = 1
        assert probe.read(data) != 0, i
        data[i] = 0


def test_read_accepts_read_only_views():
    data = np.ones(1000, np.uint8)
    data.flags.writeable = False
    assert probe.read(data) > 0


@pytest.mark.parametrize("macs", MACS.values(), ids=MACS)
@pytest.mark.parametrize("isa", table.available())
def test_multiply_adds_are_counted_by_their_sums(isa, macs):
    """Every product is 1, so the returned count is the sum of the accumulators."""
    one = macs(1, isa)
    assert one > 0
    assert [macs(n, isa) for n in (0, 10, 1001)] == [0, 10 * one, 1001 * one]


def test_too_many_rounds_are_an_error():
    for macs in MACS.values():
        with pytest.raises(ValueError, match="at most 16777216"):
            macs((1 << 24) + 1, "scalar")


def test_unknown_isa_level():
    with pytest.raises(ValueError, match="mmx"):
        probe.int8_macs(1, "mmx")


@pytest.fixture(scope="module")
def code():
    """Function -> its instructions in the imported extension module."""
    if platform.machine() != "x86_64":
        pytest.skip(f"the instructions of {platform.machine()} are not known here")
    if not (objdump := shutil.which("objdump")):
        pytest.skip("objdump is not installed")
    command = [objdump, "-d", "--no-show-raw-insn", "--wide", probe.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"<(\w+)>:\n(.*?)(?:\n\n|\Z)", listing, re.S))
    if "int8_avx512" not in found:
        pytest.skip(f"{probe.__file__} is stripped of the names of its functions")
    return found


def hot_loop(body, instruction):
    """Return the shortest loop that contains an instruction."""
    rows = re.findall(r"^\s*([0-9a-f]+):\s*(.*?)\s*$", body, re.M)
    loops = []
    for end, (address, text) in enumerate(rows):
        target = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if target and int(target[1], 16) <= int(address, 16):
            begin = next(i for i, row in enumerate(rows) if row[0] == target[1])
            lines = [text for _, text in rows[begin : end + 1]]
            if any(instruction in line for line in lines):
                loops.append(lines)
    return min(loops, key=len)


@pytest.mark.parametrize(
    ("function", "instruction", "n_products", "n_accumulators"),
    [
        ("int8_avxvnni", "vpdpbusd", 12, 12),
        ("int8_avx512", "vpdpbusd", 12, 12),
        ("int8_amx", "tdpbusd", 6, 6),
        ("f32_avx2", "vfmadd", 12, 12),
        ("f32_avx512", "vfmadd", 12, 12),
        ("int8_avx2", "vpmaddubsw", 32, None),
        ("int8_avx2", "vpaddw", 28, None),
        ("int8_avx2", "vpmaddwd", 4, None),
        ("int8_avx2", "vpaddd", 4, None),
    ],
)
def test_machine_code_executes_the_counted_products(code, function, instruction, n_products, n_accumulators):
    """The loop has all products of a round, each accumulator in a separate register and none in memory."""
    if function not in code:
        pytest.skip(f"{function} was left out: this compiler does not know its instructions")
    loop = hot_loop(code[function], instruction)
    products = [line for line in loop if instruction in line]
    n_rounds = len(products) // n_products  # a compiler may unroll
    assert len(products) == n_rounds * n_products > 0
    if n_accumulators:
        assert len({line.rpartition(",")[2] for line in products}) == n_accumulators
    assert not [line for line in loop if "(" in line], "accumulators in memory"


@pytest.mark.parametrize(("function", "register", "n_loads"), [("read_avx2", "ymm", 4), ("read_avx512", "zmm", 2)])
def test_machine_code_reads_all_bytes_with_wide_loads(code, function, register, n_loads):
    """An iteration reads a 64-byte line of each of the two streams, and nothing else from memory."""
    loop = hot_loop(code[function], f"(%rax),%{register}")
    loads = [line for line in loop if "(" in line]
    assert len(loads) == n_loads
    assert all(f"%{register}" in line for line in loads)
