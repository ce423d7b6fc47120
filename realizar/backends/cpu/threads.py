"""The default number of threads, from the CPUs of the machine and the limits of the process, and its explanation."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LEAST_BOUND = 16
"""This many threads may be requested on any machine."""
THREADS_PER_CPU = 4
"""Maximum number of threads for each CPU."""


@dataclass(frozen=True)
class ThreadCount:
    """A thread count and the limits of which it is the minimum.

    Attributes
    ----------
    n : int
        Number of threads, at least 1.
    limits : tuple[tuple[str, float], ...]
        Name of each limit and the number of CPUs that it allows; without limits that are not set.
    """

    n: int
    limits: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return f"{self.n} threads, the minimum of: " + ", ".join(f"{name} {value:g}" for name, value in self.limits)


def default_threads(root: Path = Path("/")) -> ThreadCount:
    """Return min(CPUs of the affinity mask, their physical cores, the cgroup quota rounded up).

    Two threads on one physical core share its vector units, and one thread already uses its memory bandwidth. With more
    threads than the quota allows, the kernel stops all of them for the rest of each period.

    Parameters
    ----------
    root : Path
        Directory that contains sys and proc.
    """
    cpus = affinity()
    limits: list[tuple[str, float]] = [("CPUs in the affinity mask", len(cpus))]
    if cores := physical_cores(cpus, root):
        limits.append(("physical cores among them", cores))
    if quota := cgroup_quota(root):
        limits.append(("CPUs of cgroup quota", quota))
    return ThreadCount(max(1, min(math.ceil(value) for _, value in limits)), tuple(limits))


def bounded_threads(n: int) -> int:
    """Return the number of threads to start if n are requested; warns if it is smaller.

    More threads than CPUs are never faster, and each takes memory and a share of every step.
    """
    most = max(LEAST_BOUND, THREADS_PER_CPU * len(affinity()))
    if n > most:
        warnings.warn(
            f"n_threads={n}: this process may run on {len(affinity())} CPUs, so only {most} threads are started",
            RuntimeWarning,
            stacklevel=2,
        )
    return min(n, most)


def affinity() -> set[int]:
    """Return the ids of the CPUs on which this process may run (all CPUs if the system does not tell)."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(cpus: set[int], root: Path = Path("/")) -> int | None:
    """Return the number of physical cores of these CPUs; None without Linux's sysfs."""
    cores = set()
    for cpu in cpus:
        siblings = read_kernel_file(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if not siblings:
            return None
        cores.add(siblings)
    return len(cores)


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the number of CPUs that the cgroups (v1 or v2) of this process and their parents allow; None: no limit."""
    quotas = [q for directory in _cgroup_directories(root) for q in (_quota_v2(directory), _quota_v1(directory)) if q]
    return min(quotas, default=None)


def _quota_v2(directory: Path) -> float | None:
    """Return the limit in cpu.max, which has "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    quota, _, period = read_kernel_file(directory / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(directory: Path) -> float | None:
    """Return the limit of cgroup v1; a quota of -1 is no limit."""
    return _ratio(read_kernel_file(directory / "cpu.cfs_quota_us"), read_kernel_file(directory / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) and int(period) else None


def _cgroup_directories(root: Path) -> Iterator[Path]:
    """Return the directories of the process's cgroups, each followed by its parents up to the mount."""
    groups = [line.split(":", 2) for line in read_kernel_file(root / "proc/self/cgroup").splitlines()]
    for line in read_kernel_file(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(), "", "", ""][:3]
        mount_root, mount_point = before.split()[3:5]
        for _, controllers, path in groups:
            v1 = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options.split(",")
            if v1 or (kind == "cgroup2" and not controllers):
                directory = root / mount_point.lstrip("/")
                yield directory
                for part in _below(path, mount_root):
                    directory /= part
                    yield directory


def _below(path: str, mount_root: str) -> tuple[str, ...]:
    """Return the parts of a cgroup's path below the mounted root; none if it is elsewhere (in a container)."""
    try:
        parts = PurePosixPath(path).relative_to(mount_root).parts
    except ValueError:
        return ()
    return () if ".." in parts else parts


def read_kernel_file(path: Path) -> str:
    """Return the text of a kernel file; empty if it does not exist."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
