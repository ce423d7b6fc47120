"""Engines of several threads share a device of the wgpu backend, its kernels, and the calls that find results."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from realizar.backends.wgpu import device, kernels
from realizar.backends.wgpu.native import Commands
from tests.backends.adapters import need_adapter

N_THREADS = 4


@pytest.fixture(autouse=True)
def _adapter():
    need_adapter()


def in_threads(function):
    """Return what the function returned in threads that called it at the same time."""
    barrier = threading.Barrier(N_THREADS)

    def work(_):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(work, range(N_THREADS)))


def slowly(function, made):
    """Return a function that others are likely to call before it returns."""

    def slow(*args):
        made.append(args)
        threading.Event().wait(0.02)
        return function(*args)

    return slow


def test_threads_share_one_device(monkeypatch):
    made = []
    monkeypatch.setattr(device, "_devices", {})
    monkeypatch.setattr(device, "_open", slowly(lambda *_: SimpleNamespace(is_lost=False), made))
    assert len(set(map(id, in_threads(device.open_device)))) == len(made) == 1


def test_threads_share_one_pipeline(monkeypatch):
    """Lists of calls keep the handles of pipelines, and one that is freed aborts the process."""
    made, opened = [], device.open_device()
    monkeypatch.setattr(kernels, "_source", slowly(lambda *_: "", []))
    monkeypatch.setattr(kernels.Kernel, "_compiled", slowly(lambda _: object(), made))
    monkeypatch.setattr(kernels.Kernel, "_new_layout", slowly(lambda _: object(), made))
    found = in_threads(lambda: kernels.kernel(opened, "none", {"N": 1}))
    assert len(set(found)) == 1
    assert len(set(in_threads(lambda: found[0].pipeline))) == len(set(in_threads(lambda: found[0].layout))) == 1
    assert len(made) == 2
    del opened.kernels["none", (), (("N", 1),)]


def test_a_result_that_another_thread_finds():
    """A device is idle for one thread as soon as another has taken the result, which calls back a little later."""
    opened = device.open_device()
    commands, staging = Commands(opened), opened.buffer(16, reads_back=True)
    found = commands._ffi.new("char[]", bytes(range(16)))
    success = commands._lib.WGPUMapAsyncStatus_Success
    later = threading.Timer(0.02, commands._mapped, (success, None, None, None))

    def poll(*_):
        later.start()
        return True

    commands._lib = SimpleNamespace(
        WGPUMapMode_Read=0, WGPUMapAsyncStatus_Success=success, wgpuDevicePoll=poll, wgpuBufferUnmap=lambda _: None,
        wgpuBufferMapAsync=lambda *_: None, wgpuBufferGetConstMappedRange=lambda *_: found,
    )  # fmt: skip
    np.testing.assert_array_equal(commands.read(staging, 16), np.arange(16))
    later.join()
    staging.destroy()
