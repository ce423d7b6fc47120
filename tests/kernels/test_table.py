"""The kernel table: ISA levels, their selection, and the environment variable."""

import os
import subprocess
import sys

import pytest

from realizar._kernels import table


@pytest.fixture
def restored():
    before = table.current()
    yield
    table.use(before)


def test_scalar_is_always_available_and_the_best_level_is_last():
    order = ["scalar", "avx2", "avxvnni", "avx512", "amx"]
    assert table.available()[0] == "scalar"
    assert list(table.available()) == [name for name in order if name in table.available()]


@pytest.mark.parametrize("isa", table.available())
def test_use(isa, restored):
    table.use(isa)
    assert table.current() == isa


def test_unknown_isa_level_names_the_choices(restored):
    with pytest.raises(ValueError, match="'mmx' is not available; this CPU runs: scalar"):
        table.use("mmx")
    with pytest.raises(TypeError):
        table.use(None)


def in_a_fresh_process(isa):
    return subprocess.run(
        [sys.executable, "-c", "from realizar._kernels import table; print(table.current())"],
        env={**os.environ, "REALIZAR_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


def test_environment_variable_selects_the_isa_level():
    assert in_a_fresh_process("scalar").stdout.strip() == "scalar"
    assert in_a_fresh_process("").stdout.strip() == table.available()[-1]


def test_environment_variable_with_a_bad_name():
    done = in_a_fresh_process("sse9")
    assert done.returncode != 0
    assert "REALIZAR_ISA: instruction set 'sse9' is not available" in done.stderr
