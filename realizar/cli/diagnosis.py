"""What `realizar doctor` finds out about the machine and the installation, and the advice that follows from it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from realizar import __version__, store
from realizar._kernels import table
from realizar.backends.cpu.threads import affinity, default_threads, read_kernel_file
from realizar.backends.wgpu.device import open_device
from realizar.errors import RealizarError
from realizar.planning.machine import f32_tops, host_memory, int8_tops, read_gb_s

EXTRAS = {
    "hub": ("huggingface_hub", "models of the Hugging Face hub"),
    "cli": ("prompt_toolkit", "history and several lines in `realizar chat`"),
    "server": ("fastapi", "`realizar serve` and `realizar batch`"),
    "vision": ("PIL", "pictures"),
    "audio": ("soundfile", "sounds other than WAV files at 16 kHz"),
    "gpu": ("wgpu", "the backend wgpu"),
    "otel": ("opentelemetry", "traces of the server"),
    "ray": ("ray", "several machines"),
}
"""Extra -> a module that it installs, and what it is for. The extras that are not here are for development."""
LEVELS = {"amx": "amx_int8", "avx512": "avx512_vnni", "avxvnni": "avx_vnni", "avx2": "avx2"}
"""ISA level -> the flag of /proc/cpuinfo without which a CPU cannot run it, best first."""
DYNAMIC_POWERSAVE = ("intel_pstate", "amd-pstate-epp")
"""Drivers of CPU frequencies whose governor "powersave" raises the frequency under load (Linux, admin-guide/pm)."""
SAMPLE_BYTES = 256 << 20
"""Bytes that are read to measure the bandwidth; more than caches hold."""


@dataclass(frozen=True)
class Machine:
    """Facts about the hardware that decide how fast a model runs.

    Attributes
    ----------
    cpu : str
        Name of the processor as the system gives it.
    levels : tuple of str
        ISA levels that this CPU can run, best last.
    level : str
        The level in use.
    threads : int
        Default number of threads.
    limits : str
        The limits of which it is the minimum.
    memory_bytes, available_bytes : int | None
        Memory of the machine, and how much of it is free for models; None if the system does not tell.
    read_gb_s : float
        Read bandwidth with these threads, 10^9 bytes per second.
    int8_tops, f32_tops : float
        Rates of multiply-adds with these threads, 10^12 operations per second.
    """

    cpu: str
    levels: tuple[str, ...]
    level: str
    threads: int
    limits: str
    memory_bytes: int | None
    available_bytes: int | None
    read_gb_s: float
    int8_tops: float
    f32_tops: float


@dataclass(frozen=True)
class Installation:
    """Facts about the installed package.

    Attributes
    ----------
    realizar, python : str
        Versions.
    system : str
    cache : str
        The cache folder.
    cache_free_bytes : int | None
        Free bytes on its disk; None if neither it nor a parent exists.
    models : dict of str to int
        Downloaded models and their bytes.
    extras : dict of str to bool
        Whether an extra is installed.
    gpu : str | None
        The adapter that the backend wgpu uses, or why it has none; None without the extra.
    """

    realizar: str
    python: str
    system: str
    cache: str
    cache_free_bytes: int | None
    models: Mapping[str, int]
    extras: Mapping[str, bool]
    gpu: str | None


def examine_machine(root: Path = Path("/")) -> Machine:
    """Return the facts about the hardware; measures for about half a second.

    Parameters
    ----------
    root : Path
        Directory that contains sys and proc.
    """
    found, level = default_threads(root), table.current()
    memory = host_memory(root)
    return Machine(
        cpu=_cpu_name(root),
        levels=table.available(),
        level=level,
        threads=found.n,
        limits=", ".join(f"{name} {value:g}" for name, value in found.limits),
        memory_bytes=memory.get("MemTotal"),
        available_bytes=memory.get("MemAvailable"),
        read_gb_s=read_gb_s([np.ones(SAMPLE_BYTES, np.uint8)], found.n),
        int8_tops=int8_tops(level, found.n),
        f32_tops=f32_tops(level, found.n),
    )


def examine_installation() -> Installation:
    """Return the facts about the installed package.

    Raises
    ------
    DownloadError
        As `store.cache_dir`.
    """
    folder = store.cache_dir()
    return Installation(
        realizar=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cache=str(folder),
        cache_free_bytes=_free_bytes(folder),
        models={m.name: m.n_bytes for m in store.stored_models() if m.path},
        extras={extra: find_spec(module) is not None for extra, (module, _) in EXTRAS.items()},
        gpu=_adapter() if find_spec("wgpu") is not None else None,
    )


def advice(machine: Machine, installation: Installation, root: Path = Path("/")) -> list[str]:
    """Return what would make models run faster, or run at all, most important first.

    Parameters
    ----------
    machine : Machine
    installation : Installation
    root : Path
        Directory that contains sys and proc.
    """
    about_machine = (*_about_level(machine, root), *_about_cpus(machine, root), *_about_load(root))
    return [*about_machine, *_about_memory(machine, installation)]


def _about_level(machine: Machine, root: Path) -> Iterator[str]:
    best = machine.levels[-1]
    if machine.level != best:
        chosen = os.environ.get("REALIZAR_ISA", machine.level)
        yield f"REALIZAR_ISA={chosen} keeps realizar from the faster level {best}: unset it"
    flags = set(read_kernel_file(root / "proc/cpuinfo").partition("flags")[2].partition("\n")[0].split())
    for level, flag in LEVELS.items():
        if level == best:
            return
        if flag in flags:
            yield f"the CPU has {flag}, but the level {level} is not available: the system does not save its registers"
    if best == "scalar":
        yield "no vector instructions are used on this CPU: models run at a small part of its speed"


def _about_cpus(machine: Machine, root: Path) -> Iterator[str]:
    n_online = os.cpu_count() or 1
    if len(affinity()) < n_online:
        yield f"this process may use {len(affinity())} of {n_online} CPUs (taskset, or the container): give it more"
    if "quota" in machine.limits and machine.threads < len(affinity()):
        yield f"the cgroup's CPU quota allows {machine.threads} threads: raise the limit of the container"
    cpus = root / "sys/devices/system/cpu"
    governors = {read_kernel_file(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    driver = read_kernel_file(cpus / "cpu0/cpufreq/scaling_driver")
    if "powersave" in governors and driver not in DYNAMIC_POWERSAVE:
        yield "CPUs run at their lowest frequency (governor powersave): cpupower frequency-set -g performance"
    nodes = len(list((root / "sys/devices/system/node").glob("node[0-9]*")))
    if nodes > 1:
        yield f"memory is in {nodes} NUMA nodes: bind a server to one of them (numactl --cpunodebind --membind)"


def _about_load(root: Path) -> Iterator[str]:
    load = read_kernel_file(root / "proc/loadavg").split()[:1]
    if load and float(load[0]) > len(affinity()):
        yield f"other processes use the CPUs (load {load[0]}): the limits above are those of what is left"


def _about_memory(machine: Machine, installation: Installation) -> Iterator[str]:
    if machine.available_bytes is None:
        return
    large = [name for name, n_bytes in installation.models.items() if n_bytes > machine.available_bytes]
    if large:
        yield (
            f"{', '.join(large)}: larger than the free memory ({machine.available_bytes / 1e9:.1f} GB), so that each "
            "token reads weights from disk: free memory, or take a smaller quantization"
        )
    if (free := installation.cache_free_bytes) is not None and free < 1e9:
        yield f"the disk of {installation.cache} has {free / 1e9:.1f} GB free: set REALIZAR_CACHE to a folder elsewhere"


def _adapter() -> str:
    """Return the name of the adapter that the backend wgpu uses, or why it has none."""
    try:
        device = open_device()
    except RealizarError as error:
        return str(error)
    return f"{device.name}, in software: slower than the CPU backend" if device.is_software else device.name


def _cpu_name(root: Path) -> str:
    name = re.search(r"^model name\s*:\s*(.+)$", read_kernel_file(root / "proc/cpuinfo"), re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()


def _free_bytes(folder: Path) -> int | None:
    """Return the free bytes of the disk where a folder is, or would be created."""
    for path in (folder, *folder.parents):
        try:
            return shutil.disk_usage(path).free
        except OSError:
            continue
    return None
