"""Options that choose devices, and the commands that list and estimate them."""

import json

import pytest

from realizar.errors import ParameterError
from realizar.server.settings import read_settings
from tests.backends.adapters import need_adapter
from tests.limits.models import LLAMA

ANSWER = ("run", str(LLAMA), "Once", "--raw", "-n", "4", "--temperature", "0", "-t", "1", "--activations", "f32")


def test_devices(realizar):
    need_adapter()
    status, out, _ = realizar("devices")
    assert status == 0
    head, cpu, gpu, *_ = out.splitlines()
    assert head.split() == ["device", "name", "type", "API", "memory", "free", "features", "auto"]
    assert cpu.split()[0] == "cpu"
    assert gpu.split()[0] == "gpu:0"
    status, out, _ = realizar("devices", "--json")
    found = json.loads(out)
    assert [each["device"] for each in found["devices"]][:2] == ["cpu", "gpu:0"]
    assert found["missing"] is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--device", "gpu"), "devices: gpu:0 ("),
        (("--device", "gpu", "-ngl", "1"), "devices: cpu: layer 0; gpu:0 ("),
        (("--device", "gpu:0", "-ot", "ffn_down=cpu"), "; ffn_down on cpu"),
        (("--device", "auto", "--n-gpu-layers", "0"), "devices: cpu: all "),
    ],
)
def test_run_says_where_it_computes(realizar, options, line):
    need_adapter()
    _, want, _ = realizar(*ANSWER)
    status, out, err = realizar(*ANSWER, *options)
    assert (status, out) == (0, want)
    assert line in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "tpu"), "device='tpu': must be 'auto', 'cpu', 'gpu'"),
        (("--n-gpu-layers", "3"), "n_gpu_layers=3: must be 0 or None where device='cpu'"),
        (("-ot", "ffn"), "'ffn' must be PATTERN=DEVICE"),
        (("-ot", "ffn=tpu"), "tensor_devices="),
        (("--backend", "cuda"), "backend='cuda': must be 'cpu' or 'numpy' or 'wgpu'"),
        (("--backend", "numpy", "--device", "gpu"), "device='gpu': must be left out where backend='numpy'"),
    ],
)
def test_wrong_options(realizar, options, message):
    status, _, err = realizar(*ANSWER, *options)
    assert status == 2
    assert message in err


def test_plan_estimates_the_device_that_is_named(realizar):
    need_adapter()
    status, out, _ = realizar("plan", str(LLAMA), "--ctx", "64", "--device", "gpu:0", "-ngl", "1")
    assert status == 0
    lines = [line for line in out.splitlines() if line.startswith(("gpu:0", " "))]
    assert lines[0].startswith("gpu:0     cpu: layer 0; gpu:0 (")
    assert "at most prefill " in lines[1]
    assert "MB of GPU memory: weights" in lines[2]
    status, out, _ = realizar("plan", str(LLAMA), "--ctx", "64", "--device", "gpu:0", "--json")
    here, there = json.loads(out)["devices"]
    assert (here["device"], there["device"]) == ("cpu", "gpu:0")
    assert there["gpu_bytes"]["total"] > there["gpu_bytes"]["weights"] > here["gpu_bytes"]["total"] == 0
    assert min(here["decode_tok_s"], there["decode_tok_s"]) > 0
    assert there["host_ops"] == []


def test_bench_of_a_split(realizar):
    need_adapter()
    options = ("--device", "gpu", "-ngl", "1", "-p", "8", "-n", "2", "-t", "1", "--json")
    status, out, _ = realizar("bench", str(LLAMA), *options)
    assert status == 0
    assert json.loads(out)["devices"].startswith("cpu: layer 0; gpu:0")


def test_settings_of_the_server():
    found = read_settings({
        "models": ["m"], "device": "gpu", "n_gpu_layers": 3, "n_cpu_moe": 2, "tensor_device": ["ffn_.*=cpu"],
    }).engine  # fmt: skip
    assert {name: found[name] for name in ("device", "n_gpu_layers", "n_cpu_moe", "tensor_devices")} == {
        "device": "gpu", "n_gpu_layers": 3, "n_cpu_moe": 2, "tensor_devices": (("ffn_.*", "cpu"),),
    }  # fmt: skip


def test_a_tensor_without_a_device_in_settings():
    with pytest.raises(ParameterError, match="tensor_device=ffn: must be PATTERN=DEVICE"):
        _ = read_settings({"models": ["m"], "device": "gpu", "tensor_device": ["ffn"]}).engine
