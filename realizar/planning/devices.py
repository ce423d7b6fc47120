"""The devices that can compute a model, as `realizar devices` lists them."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import table
from realizar.backends.cpu.threads import default_threads
from realizar.errors import RealizarError
from realizar.planning.machine import host_memory


@dataclass(frozen=True)
class DeviceInfo:
    """One device.

    Attributes
    ----------
    device : str
        What `device=` of `LLM` and --device take.
    name, kind, api, driver : str
        Of the gpu; kind is "CPU", "discrete", "integrated", "other" or "software".
    memory_bytes, free_bytes : int | None
        None if unknown.
    features : tuple of str
        Those by which kernels are chosen.
    auto : str
        Whether device="auto" takes it.
    """

    device: str
    name: str
    kind: str
    api: str
    driver: str
    memory_bytes: int | None
    free_bytes: int | None
    features: tuple[str, ...]
    auto: str


def devices() -> tuple[list[DeviceInfo], str | None]:
    """Return all devices, and what is missing for GPUs; None if they can be listed."""
    n, memory = default_threads().n, host_memory()
    found = [DeviceInfo(
        "cpu", f"{n} threads", "CPU", "C kernels", "", memory.get("MemTotal"), memory.get("MemAvailable"),
        (table.current(),), "else",
    )]  # fmt: skip
    from realizar.backends.wgpu.device import list_gpus
    from realizar.backends.wgpu.gpus import missing as gpus_missing

    try:
        gpus = list_gpus()
    except RealizarError as error:
        return found, str(error)
    best = next((gpu.number for gpu in gpus if not gpu.is_software), None)
    for each in gpus:
        auto = "if faster" if each.number == best else "no: software" if each.is_software else "no: not the best"
        found.append(DeviceInfo(
            f"gpu:{each.number}", each.name, each.kind, each.api, each.driver, each.memory_bytes, each.free_bytes,
            each.features, auto,
        ))  # fmt: skip
    return found, None if gpus else gpus_missing()
