"""The memory of GPUs, asked of the Vulkan loader: WebGPU does not tell it."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

# Numbers of vulkan_core.h.
_INSTANCE_INFO, _APPLICATION_INFO, _MEMORY_2, _BUDGET = 1, 0, 1000059006, 1000237000
_VERSION_1_1 = 1 << 22 | 1 << 12
_DEVICE_LOCAL = 1
_N_TYPES, _N_HEAPS = 32, 16
_BUDGET_EXTENSION = b"VK_EXT_memory_budget"


class Memory(NamedTuple):
    """The memory of one GPU.

    Attributes
    ----------
    vendor_id, device_id : int
    total : int
        Bytes of its largest heap of its own memory.
    free : int | None
        Bytes of it that this process may take now; None if the driver does not say.
    """

    vendor_id: int
    device_id: int
    total: int
    free: int | None


def memories() -> list[Memory]:
    """Return the memory of each GPU with a Vulkan driver; empty without a loader."""
    library = _library()
    if library is None:
        return []
    with _instance(library) as instance:
        return [] if instance is None else [_memory(library, device) for device in _devices(library, instance)]


class _ApplicationInfo(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32), ("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("version", ctypes.c_uint32),
        ("engine", ctypes.c_char_p), ("engine_version", ctypes.c_uint32), ("api", ctypes.c_uint32),
    ]  # fmt: skip


class _InstanceInfo(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint32), ("app", ctypes.c_void_p),
        ("n_layers", ctypes.c_uint32), ("layers", ctypes.c_void_p),
        ("n_extensions", ctypes.c_uint32), ("extensions", ctypes.c_void_p),
    ]  # fmt: skip


class _Properties(ctypes.Structure):
    """VkPhysicalDeviceProperties; what follows the ids is not read."""

    _fields_ = [
        ("api", ctypes.c_uint32), ("driver", ctypes.c_uint32), ("vendor_id", ctypes.c_uint32),
        ("device_id", ctypes.c_uint32), ("rest", ctypes.c_uint8 * 2048),
    ]  # fmt: skip


class _Type(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint32), ("heap", ctypes.c_uint32)]


class _Heap(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("flags", ctypes.c_uint32)]


class _Budget(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint32), ("next", ctypes.c_void_p),
        ("budget", ctypes.c_uint64 * _N_HEAPS), ("usage", ctypes.c_uint64 * _N_HEAPS),
    ]  # fmt: skip


class _MemoryProperties(ctypes.Structure):
    """VkPhysicalDeviceMemoryProperties2."""

    _fields_ = [
        ("kind", ctypes.c_uint32), ("next", ctypes.c_void_p), ("n_types", ctypes.c_uint32), ("types", _Type * _N_TYPES),
        ("n_heaps", ctypes.c_uint32), ("heaps", _Heap * _N_HEAPS),
    ]  # fmt: skip


class _Extension(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 256), ("version", ctypes.c_uint32)]


def _library() -> Any:
    names = ["vulkan-1.dll"] if sys.platform == "win32" else ["libvulkan.so.1", ctypes.util.find_library("vulkan")]
    for name in filter(None, names):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@contextmanager
def _instance(library: Any) -> Iterator[Any]:
    app = _ApplicationInfo(kind=_APPLICATION_INFO, name=b"realizar", api=_VERSION_1_1)
    info = _InstanceInfo(kind=_INSTANCE_INFO, app=ctypes.cast(ctypes.byref(app), ctypes.c_void_p))
    instance = ctypes.c_void_p()
    if library.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)) != 0:
        yield None
        return
    try:
        yield instance
    finally:
        library.vkDestroyInstance(instance, None)


def _devices(library: Any, instance: Any) -> list[ctypes.c_void_p]:
    n = ctypes.c_uint32()
    library.vkEnumeratePhysicalDevices(instance, ctypes.byref(n), None)
    found = (ctypes.c_void_p * n.value)()
    library.vkEnumeratePhysicalDevices(instance, ctypes.byref(n), found)
    return [ctypes.c_void_p(device) for device in found[: n.value]]


def _memory(library: Any, device: ctypes.c_void_p) -> Memory:
    properties, has_budget = _Properties(), _has_budget(library, device)
    library.vkGetPhysicalDeviceProperties(device, ctypes.byref(properties))
    budget = _Budget(kind=_BUDGET)
    memory = _MemoryProperties(kind=_MEMORY_2)
    if has_budget:
        memory.next = ctypes.cast(ctypes.byref(budget), ctypes.c_void_p)
    library.vkGetPhysicalDeviceMemoryProperties2(device, ctypes.byref(memory))
    own = [i for i in range(memory.n_heaps) if memory.heaps[i].flags & _DEVICE_LOCAL]
    heap = max(own, key=lambda i: memory.heaps[i].size, default=0)
    free = max(0, budget.budget[heap] - budget.usage[heap]) if has_budget else None
    return Memory(properties.vendor_id, properties.device_id, memory.heaps[heap].size, free)


def _has_budget(library: Any, device: ctypes.c_void_p) -> bool:
    n = ctypes.c_uint32()
    if library.vkEnumerateDeviceExtensionProperties(device, None, ctypes.byref(n), None) != 0:
        return False
    found = (_Extension * n.value)()
    library.vkEnumerateDeviceExtensionProperties(device, None, ctypes.byref(n), found)
    return any(each.name == _BUDGET_EXTENSION for each in found[: n.value])
