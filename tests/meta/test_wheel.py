"""tools/wheel.py finds what a wheel must not be, and cibuildwheel builds for all systems and versions."""

import importlib.util
import subprocess
import sys
import zipfile

import pytest

from tests.meta.house import ROOT

tomllib = pytest.importorskip("tomllib")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
NAME = "realizar-0.1.0-cp311-abi3-manylinux_2_28_x86_64.whl"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("wheel_tool", ROOT / "tools/wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(tool, path, changed=()):
    """A wheel of small files, some of them changed: {name: bytes, or None to leave it out}."""
    members = dict.fromkeys([*tool.NEEDED, *(f"{m}.abi3.so" for m in tool.expected_modules())], b"\x7fELF realizar/a.c")
    members.update(changed)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def test_a_good_wheel_has_no_faults(tool, tmp_path):
    assert list(tool.faults(made(tool, tmp_path / NAME))) == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"realizar/_kernels/plan.abi3.so": b"\x7fELF\0/srv/build/x/plan.c\0"}, "has the path /srv/build/x/plan.c"),
        ({"realizar/_kernels/plan.abi3.so": b"RUNPATH /home/me/lib\0"}, "has the path /home/me/lib"),
        ({"realizar/_kernels/plan.abi3.so": None}, "compiled modules: ['realizar/_kernels/plan']"),
        ({"realizar/_kernels/plan.cpython-311-x86_64-linux-gnu.so": b""}, "compiled modules: some twice"),
        ({"realizar/_kernels/src/pool.c": b""}, "realizar/_kernels/src/pool.c is a source of C"),
        ({"realizar_plugins/llama.py": None}, "realizar_plugins/llama.py is missing"),
        ({"realizar/large.bin": bytes(6_000_001)}, "bytes, more than 6000000"),
    ],
)
def test_faults_are_found(tool, tmp_path, changed, fault):
    (found,) = tool.faults(made(tool, tmp_path / NAME, changed))
    assert fault in found


def test_a_tag_that_is_not_built_is_found(tool, tmp_path):
    (found,) = tool.faults(made(tool, tmp_path / "realizar-0.1.0-py3-none-any.whl"))
    assert "none of the tags" in found


def test_the_environment_is_that_of_cibuildwheel():
    done = subprocess.run(
        ["bash", "-c", f'eval "$({sys.executable} {ROOT}/tools/wheel.py environment)"; echo $REALIZAR_CFLAGS'],
        capture_output=True, text=True, cwd="/", check=True,
    )  # fmt: skip
    assert done.stdout == "-g0 -ffile-prefix-map=/=.\n"


def test_every_system_and_version_is_built():
    versions = ("cp310", "cp311", "cp312", "cp313", "cp314", "cp314t")
    assert SETTINGS["build"].split() == [f"{version}-*" for version in versions]
    archs = {system: SETTINGS[system]["archs"] for system in ("linux", "macos", "windows")}
    assert archs == {"linux": ["x86_64", "aarch64"], "macos": ["x86_64", "arm64"], "windows": ["AMD64", "ARM64"]}
    for system in archs:
        assert SETTINGS[system]["environment"]["REALIZAR_LIMITED_API"] == "1"
