"""The GPUs that wgpu finds, in the order in which they are taken, with what is known of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from realizar.backends.wgpu.vulkan_memory import memories

KINDS = {"DiscreteGPU": "discrete", "IntegratedGPU": "integrated", "Unknown": "other", "CPU": "software"}
"""`adapter_type` of WebGPU -> our name; the best first."""
APIS = ("Vulkan", "Metal", "D3D12", "OpenGL", "OpenGLES")
"""APIs in the order in which they are taken where a GPU has several."""
INCOMPLETE = ("OpenGL", "OpenGLES")
"""APIs that are used only if there is no other one, or if WGPU_BACKEND_TYPE names them."""
SHOWN = ("subgroup", "shader-f16")
"""Features by which kernels are chosen, or may be."""


@dataclass(frozen=True)
class GPU:
    """A GPU, through one API.

    Attributes
    ----------
    number : int
        N of the device "gpu:N".
    name : str
    kind : {"discrete", "integrated", "other", "software"}
    api : str
        Such as "Vulkan".
    driver : str
        Name and version, as the driver gives them.
    features : tuple of str
        Those of `SHOWN` that it has.
    memory_bytes, free_bytes : int | None
        Its own memory, and what of it this process may take; None if unknown.
    """

    number: int
    name: str
    kind: str
    api: str
    driver: str
    features: tuple[str, ...]
    memory_bytes: int | None
    free_bytes: int | None

    @property
    def is_software(self) -> bool:
        """Whether it computes on the CPU, such as lavapipe."""
        return self.kind == "software"


def find_gpus() -> list[GPU]:
    """Return all GPUs, the best first.

    Raises
    ------
    ImportError
        If the package wgpu is missing.
    """
    found, known = _found(os.getpid()), memories()
    out = []
    for number, adapter in enumerate(found):
        info = adapter.info
        ids = info["vendor_id"], info["device_id"]
        memory = next((at for at in known if (at.vendor_id, at.device_id) == ids), None)
        if memory is not None:
            known.remove(memory)  # the next GPU of this model has its own
        out.append(GPU(
            number, info["device"], KINDS.get(info["adapter_type"], "other"), info["backend_type"],
            info["description"], tuple(name for name in SHOWN if name in adapter.features),
            None if memory is None else memory.total, None if memory is None else memory.free,
        ))  # fmt: skip
    return out


def missing() -> str:
    """Return what to do where there is no GPU."""
    if wanted := _wanted():
        return f"no GPU with WGPU_BACKEND_TYPE={wanted}, which must be one of {', '.join(APIS)}; unset it for any"
    return "no driver with Vulkan, Metal or DX12 has a GPU; install one (docs/gpu.md)"


def raw_adapter(number: int) -> Any:
    """Return wgpu's object of an adapter; IndexError if there is none of this number."""
    return _found(os.getpid())[number]


@cache
def _found(pid: int) -> list[Any]:
    """wgpu's adapters in our order. Drivers must not be asked again: some list their GPUs in another order then."""
    import wgpu

    wanted = _wanted()
    found = list(wgpu.gpu.enumerate_adapters_sync())
    if wanted:
        found = [adapter for adapter in found if adapter.info["backend_type"] == wanted]
    elif complete := [adapter for adapter in found if adapter.info["backend_type"] not in INCOMPLETE]:
        found = complete
    return sorted(found, key=_rank)


def _wanted() -> str:
    return os.environ.get("WGPU_BACKEND_TYPE", "").strip()


def _rank(adapter: Any) -> tuple[int, int]:
    kind, api = adapter.info["adapter_type"], adapter.info["backend_type"]
    return list(KINDS).index(kind) if kind in KINDS else 2, APIS.index(api) if api in APIS else len(APIS)
