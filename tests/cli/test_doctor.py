"""`realizar doctor`: what it prints, and the advice for machines that it is told of."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from realizar._kernels import table
from realizar.cli import diagnosis
from realizar.cli.diagnosis import Installation, Machine, advice
from realizar.errors import DeviceError

MACHINE = Machine(
    cpu="a CPU", levels=("scalar", "avx2"), level="avx2", threads=2, limits="CPUs in the affinity mask 2",
    memory_bytes=8 << 30, available_bytes=4 << 30, read_gb_s=10.0, int8_tops=0.5, f32_tops=0.2,
)  # fmt: skip
INSTALLATION = Installation(
    "0.1.0", "CPython 3.12", "Linux", "/cache", 10 << 30, {"small": 1 << 20}, {"hub": True}, None
)


@pytest.fixture(autouse=True)
def _quiet_driver(monkeypatch, tmp_path):
    """Mesa's software adapter complains on standard error where this is not set."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine of two CPUs without anything to improve; returns a function that writes a kernel file of it."""
    monkeypatch.setattr(diagnosis, "affinity", lambda: {0, 1})
    monkeypatch.setattr(diagnosis.os, "cpu_count", lambda: 2)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write.path = tmp_path
    return write


def test_prints_what_is_there(realizar, monkeypatch):
    monkeypatch.setattr(diagnosis, "SAMPLE_BYTES", 1 << 20)
    status, out, err = realizar("doctor")
    assert (status, err) == (0, "")
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert found["level"].startswith(f"{table.current()}; this CPU runs scalar")
    assert found["realizar"].startswith("0.")
    assert float(found["limits"].split()[1]) > 0
    assert {"cpu", "threads", "cache", "models", "extra", "advice"} <= found.keys()


def test_json_has_the_same_facts(realizar, monkeypatch):
    monkeypatch.setattr(diagnosis, "SAMPLE_BYTES", 1 << 20)
    found = json.loads(realizar("doctor", "--json")[1])
    assert found["machine"]["levels"] == list(table.available())
    assert set(found["installation"]["extras"]) == set(diagnosis.EXTRAS)
    assert isinstance(found["advice"], list)


def test_names_missing_extras(realizar, monkeypatch):
    monkeypatch.setattr(diagnosis, "SAMPLE_BYTES", 1 << 20)
    monkeypatch.setitem(diagnosis.EXTRAS, "hub", ("no_such_module", "models"))
    assert "hub, for models: pip install 'realizar[hub]'" in realizar("doctor")[1]


def test_names_the_adapter_or_what_is_missing(realizar, monkeypatch):
    monkeypatch.setattr(diagnosis, "SAMPLE_BYTES", 1 << 20)
    monkeypatch.setattr(diagnosis, "find_spec", lambda _: object())
    made = [SimpleNamespace(name="a GPU (Vulkan)", is_software=is_software) for is_software in (False, True)]
    monkeypatch.setattr(diagnosis, "open_device", lambda: made.pop(0))
    assert "gpu       a GPU (Vulkan)\n" in realizar("doctor")[1]
    assert "gpu       a GPU (Vulkan), in software" in realizar("doctor")[1]

    def refuse():
        raise DeviceError("found no adapter")

    monkeypatch.setattr(diagnosis, "open_device", refuse)
    assert "gpu       found no adapter\n" in realizar("doctor")[1]
    monkeypatch.setattr(diagnosis, "find_spec", lambda _: None)
    assert json.loads(realizar("doctor", "--json")[1])["installation"]["gpu"] is None


def test_no_advice_without_a_reason(root):
    root("proc/loadavg", "0.50 0.40 0.30 1/200 1000")
    assert advice(MACHINE, INSTALLATION, root.path) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("proc/loadavg", "5.00 4.00 3.00 1/200 1000", "load 5.00"),
        ("proc/cpuinfo", "flags\t\t: sse2 avx2 avx512_vnni\n", "the CPU has avx512_vnni"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n", "governor powersave"),
    ],
)
def test_advice_from_a_kernel_file(root, name, text, expected):
    root(name, text)
    (found,) = advice(MACHINE, INSTALLATION, root.path)
    assert expected in found


def test_dynamic_powersave_is_no_fault(root):
    root("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    root("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n")
    assert advice(MACHINE, INSTALLATION, root.path) == []


def test_advice_for_several_numa_nodes(root):
    for node in range(2):
        root(f"sys/devices/system/node/node{node}/cpulist", "0\n")
    (found,) = advice(MACHINE, INSTALLATION, root.path)
    assert "2 NUMA nodes" in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"level": "scalar"}, "keeps realizar from the faster level avx2"),
        ({"levels": ("scalar",), "level": "scalar"}, "no vector instructions"),
        ({"limits": "CPUs of cgroup quota 0.5", "threads": 1}, "quota allows 1 threads"),
        ({"available_bytes": 1 << 10}, "small: larger than the free memory"),
    ],
)
def test_advice_about_the_machine(root, changes, expected):
    (found,) = advice(replace(MACHINE, **changes), INSTALLATION, root.path)
    assert expected in found


def test_advice_about_a_full_disk(root):
    (found,) = advice(MACHINE, replace(INSTALLATION, cache_free_bytes=1 << 20), root.path)
    assert "REALIZAR_CACHE" in found
