"""The list of GPUs, their memory and rates, and the progress bar of uploads."""

import io
import sys

import pytest

from realizar import LLM
from realizar.backends.wgpu import gpus, progress, vulkan_memory
from realizar.backends.wgpu.device import list_gpus, open_device
from realizar.backends.wgpu.probe import probe
from tests.backends.adapters import need_adapter
from tests.limits.models import LLAMA


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


class Raw:
    """What is read of wgpu's adapters."""

    def __init__(self, name, kind, api, ids=(1, 2)):
        self.features = {"subgroup", "timestamp-query"}
        self.info = {
            "device": name, "adapter_type": kind, "backend_type": api, "description": "driver 1", "vendor_id": ids[0],
            "device_id": ids[1],
        }  # fmt: skip


@pytest.fixture
def raw(monkeypatch):
    """Return a function that sets wgpu's adapters."""
    import wgpu

    def give(*found):
        monkeypatch.setattr(wgpu.gpu, "enumerate_adapters_sync", lambda: list(found), raising=False)
        gpus._found.cache_clear()

    yield give
    gpus._found.cache_clear()


def names():
    return [(gpu.number, gpu.name, gpu.kind, gpu.api) for gpu in gpus.find_gpus()]


def test_the_best_gpu_comes_first(raw):
    raw(
        Raw("pipe", "CPU", "Vulkan"), Raw("big", "DiscreteGPU", "OpenGL"), Raw("small", "IntegratedGPU", "Vulkan"),
        Raw("big", "DiscreteGPU", "D3D12"), Raw("big", "DiscreteGPU", "Vulkan"),
    )  # fmt: skip
    assert names() == [
        (0, "big", "discrete", "Vulkan"), (1, "big", "discrete", "D3D12"), (2, "small", "integrated", "Vulkan"),
        (3, "pipe", "software", "Vulkan"),
    ]  # fmt: skip


def test_opengl_only_where_there_is_nothing_else(raw, monkeypatch):
    raw(Raw("old", "DiscreteGPU", "OpenGL"))
    assert names() == [(0, "old", "discrete", "OpenGL")]
    raw(Raw("old", "DiscreteGPU", "OpenGL"), Raw("pipe", "CPU", "Vulkan"))
    assert names() == [(0, "pipe", "software", "Vulkan")]
    monkeypatch.setenv("WGPU_BACKEND_TYPE", "OpenGL")
    gpus._found.cache_clear()
    assert names() == [(0, "old", "discrete", "OpenGL")]


def test_what_is_missing_where_there_is_no_gpu(raw, monkeypatch):
    raw()
    assert gpus.missing().startswith("no driver with Vulkan")
    monkeypatch.setenv("WGPU_BACKEND_TYPE", "vulkan")
    assert gpus.missing().startswith("no GPU with WGPU_BACKEND_TYPE=vulkan, which must be one of Vulkan, Metal")


def test_each_of_two_equal_cards_has_its_own_memory(raw, monkeypatch):
    own = [
        vulkan_memory.Memory(1, 2, 100, 90),
        vulkan_memory.Memory(1, 2, 100, 40),
        vulkan_memory.Memory(3, 4, 7, None),
    ]
    monkeypatch.setattr(gpus, "memories", lambda: list(own))
    raw(*(Raw("card", "DiscreteGPU", "Vulkan", ids) for ids in ((1, 2), (1, 2), (3, 4), (5, 6))))
    assert [(gpu.memory_bytes, gpu.free_bytes) for gpu in gpus.find_gpus()] == [
        (100, 90), (100, 40), (7, None), (None, None),
    ]  # fmt: skip


def test_the_memory_of_this_gpu():
    """Mesa's software renderer says how much it may take, as every Vulkan driver does."""
    gpu = list_gpus()[0]
    if gpu.api == "Vulkan":
        assert gpu.memory_bytes >= 1 << 28
    assert gpu.free_bytes is None or gpu.free_bytes <= gpu.memory_bytes


def test_no_memory_is_known_without_the_loader(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(vulkan_memory.ctypes, "CDLL", refuse)
    assert vulkan_memory.memories() == []


def test_rates_are_positive():
    found = probe(open_device())
    assert min(found) > 0
    assert found.dispatch_s < 0.1
    assert found.round_trip_s < 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_shows_what_is_uploaded(monkeypatch, is_terminal):
    out = io.StringIO()
    out.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr(progress, "SHOWN_BYTES", 1000)
    with LLM(LLAMA, n_ctx=64, device="gpu") as llm:
        weights = llm.engine.runner.backend._weights
        assert weights.missing(llm.engine.model.tensors.values()) == 0
    assert ("uploading to" in out.getvalue()) == is_terminal


def test_the_bar_counts_all_bytes(monkeypatch):
    seen = []

    class Counted:
        def __init__(self, n_bytes, name):
            seen.append(n_bytes)

        def __enter__(self):
            return lambda n: seen.append(-n)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("realizar.backends.wgpu.backend.upload_progress", Counted)
    with LLM(LLAMA, n_ctx=64, device="gpu") as llm:
        tensors = llm.engine.model.tensors.values()
        rest = sum(tensor.data.nbytes for tensor in tensors if len(tensor.shape) == 1)  # norms, at once
        assert 0 <= sum(seen) <= rest
