"""Device: the adapter that computes, its features and limits, and what becomes of errors of the driver."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from realizar import forks
from realizar.backends.wgpu.gpus import GPU, find_gpus, missing, raw_adapter
from realizar.errors import DeviceError, DeviceMemoryError, RealizarError, describe_exception

WANTED = ("subgroup",)
"""Features that faster kernels use; a device is asked for those that its adapter has."""
LIMITS = (
    "max-buffer-size", "max-storage-buffer-binding-size", "max-storage-buffers-per-shader-stage",
    "max-compute-workgroup-storage-size", "max-compute-invocations-per-workgroup", "max-compute-workgroup-size-x",
)  # fmt: skip
"""Limits that are asked for as high as the adapter has them; WebGPU's defaults suit phones."""
LEAST_SUBGROUP = 16
"""Teams of a product have as many invocations; smaller subgroups exchange through memory."""
COMPILERS = 8
"""Threads that compile kernels."""
SOFTWARE = "CPU"
"""`adapter_type` of an adapter that computes on the CPU, such as lavapipe."""


@dataclass(frozen=True, eq=False)
class Device:
    """An open adapter. All backends of a process share it, and with it the compiled kernels.

    Attributes
    ----------
    name : str
        Of the adapter, with its API.
    is_software : bool
        Whether it computes on the CPU.
    uses_tiles : bool
        Whether products with many rows use tiles, which a software adapter takes seconds to compile.
    subgroup_size : int
        Invocations that can exchange numbers without memory, at least; 0: none, or too few to be of use.
    max_binding : int
        Bytes of one buffer that a kernel can read.
    gpu : wgpu.GPUDevice
    pid : int
        The process that opened it; a forked child cannot use it.
    kernels : dict
        Compiled kernels, which all programs share (`kernels.kernel`).
    lock : Lock
        Held while a kernel is made: lists of calls keep handles, so none may be replaced by another thread.
    compiler : ThreadPoolExecutor
        Compiles kernels before they are used.
    """

    name: str
    is_software: bool
    uses_tiles: bool
    subgroup_size: int
    max_binding: int
    gpu: Any
    pid: int
    kernels: dict[Any, Any] = field(default_factory=dict)
    lock: forks.Lock = field(default_factory=forks.Lock)
    compiler: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(min(COMPILERS, os.cpu_count() or 1))
    )
    _lost: list[bool] = field(default_factory=list)

    @property
    def is_lost(self) -> bool:
        """Whether it was lost: models that are opened later get another one."""
        return bool(self._lost)

    def lose(self) -> None:
        """Note that the driver has lost it."""
        self._lost.append(True)

    def check_process(self) -> None:
        """Raise DeviceError in a process that was forked after the device was opened."""
        if os.getpid() != self.pid:
            raise DeviceError(f"{self.name} was opened by the parent of this process; fork before it is opened")

    def buffer(self, n_bytes: int, *, reads_back: bool = False) -> Any:
        """Return a new buffer of at least n_bytes for kernels, or for reading back.

        Raises
        ------
        DeviceMemoryError
            If the device has not that much memory, or kernels cannot read a buffer of this size.
        DeviceError
            If it was lost.
        """
        import wgpu

        size = max(4, -(-n_bytes // 4) * 4)
        usage = wgpu.BufferUsage
        if size > self.max_binding:
            raise DeviceMemoryError(
                f"{self.name}: a buffer of {size / 2**20:.0f} MiB is needed, but its kernels can read at most "
                f"{self.max_binding / 2**20:.0f} MiB of one; use a smaller n_batch, n_ctx or n_seqs"
            )
        kind = usage.COPY_DST | (usage.MAP_READ if reads_back else usage.STORAGE | usage.COPY_SRC)
        try:
            return self.gpu.create_buffer(size=size, usage=kind)
        except wgpu.GPUError as error:
            if "lost" in str(error):
                self.lose()
                raise DeviceError(
                    f"{self.name} was lost ({describe_exception(error)}); open the model again"
                ) from error
            raise DeviceMemoryError(
                f"{self.name} has no memory for {size / 2**20:.0f} MiB more ({describe_exception(error)}); use a "
                "smaller model, n_ctx or n_seqs"
            ) from error


def open_device(number: int = 0) -> Device:
    """Return the device of an adapter; all backends of the process share it until it is lost.

    Parameters
    ----------
    number : int
        Of the adapter, as in `find_gpus()`; 0 is the best one.

    Raises
    ------
    RealizarError
        If the package wgpu is missing.
    DeviceError
        If there is no such adapter, or it cannot be opened; or if the process that this one was forked from has opened
        one.
    """
    with _opening:
        _check_openers()
        key = os.getpid(), number
        found = _devices.get(key)
        if found is None or found.is_lost:
            found = _devices[key] = _open(*key)
        return found


def list_gpus() -> list[GPU]:
    """Return all GPUs, the best first; raises like `open_device`."""
    with _opening:
        _check_openers()
        _need_package()
        _openers.add(os.getpid())
        return find_gpus()


def _check_openers() -> None:
    if _openers - {os.getpid()}:
        raise DeviceError(
            "a GPU cannot be used in a process whose parent used one before the fork, as threads of the driver are "
            "missing here; fork first, or start processes by 'spawn'"
        )


_opening = forks.Lock()
"""Threads that make backends at the same time share one device, too."""
_openers: set[int] = set()
"""Processes that looked for an adapter: this one, or one that it was forked from."""
_devices: dict[tuple[int, int], Device] = {}
"""Those that are open, by process and number."""


def _need_package() -> None:
    try:
        import wgpu  # noqa: F401
    except ImportError as error:
        raise RealizarError(f"GPUs need the package wgpu ({error}); pip install 'realizar[gpu]'") from error


def _open(pid: int, number: int = 0) -> Device:
    _need_package()
    import wgpu

    _openers.add(pid)
    try:
        adapter = raw_adapter(number)
        features = [name for name in WANTED if name in adapter.features]
        limits = {name: adapter.limits[name] for name in LIMITS}
        gpu = adapter.request_device_sync(required_features=features, required_limits=limits)
    except IndexError:
        known = ", ".join(f"gpu:{at.number} {at.name}" for at in find_gpus())
        raise DeviceError(
            f"there is no GPU number {number}; there are: {known}" if known else f"{missing()}; or use device='cpu'"
        ) from None
    except (RuntimeError, wgpu.GPUError) as error:
        raise DeviceError(
            f"GPU number {number} cannot be opened ({describe_exception(error)}); install a driver with Vulkan, Metal "
            "or DX12 (docs/gpu.md)"
        ) from error
    info = adapter.info
    is_software = info["adapter_type"] == SOFTWARE
    return Device(
        f"{info['device']} ({info['backend_type']})", is_software, not is_software, _subgroup_size(adapter),
        min(gpu.limits["max-storage-buffer-binding-size"], gpu.limits["max-buffer-size"]), gpu,
        pid,
    )  # fmt: skip


def _subgroup_size(adapter: Any) -> int:
    """Return the least size of subgroups, if the adapter has them and it is at least `LEAST_SUBGROUP`."""
    info = adapter.info
    size = int(info.get("subgroup_min_size", info.get("stackgroup_min_size", 0)))  # so called in wgpu 0.32
    return size if "subgroup" in adapter.features and size >= LEAST_SUBGROUP else 0
