"""How many threads to compute with when nobody says: what the machine and its limits give, and why."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LEAST_BOUND = 16
"""So many threads may be asked for on any machine."""
THREADS_PER_CPU = 4
"""And so many for each CPU."""


@dataclass(frozen=True)
class ThreadCount:
    """A thread count and the limits that it is the least of.

    Attributes
    ----------
    n : int
        Threads, at least 1.
    limits : tuple[tuple[str, float], ...]
        What was looked at and how many CPUs it allows; limits that are not set are not named.
    """

    n: int
    limits: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return f"{self.n} threads, the least of: " + ", ".join(f"{name} {value:g}" for name, value in self.limits)


def default_threads(root: Path = Path("/")) -> ThreadCount:
    """Return min(CPUs of the affinity mask, their physical cores, the cgroup quota rounded up).

    Two threads on one physical core share its vector units, and memory bandwidth is spent by one already. A thread
    beyond the quota makes the kernel stop all of them for the rest of each period.

    Parameters
    ----------
    root : Path
        Where /sys and /proc are looked for.
    """
    cpus = affinity()
    limits: list[tuple[str, float]] = [("CPUs in the affinity mask", len(cpus))]
    if cores := physical_cores(cpus, root):
        limits.append(("physical cores among them", cores))
    if quota := cgroup_quota(root):
        limits.append(("CPUs of cgroup quota", quota))
    return ThreadCount(max(1, min(math.ceil(value) for _, value in limits)), tuple(limits))


def bounded_threads(n: int) -> int:
    """Return how many threads to start of n that were asked for, with a warning where these are fewer.

    More threads than CPUs never compute faster, and each takes memory and a part of every step.
    """
    most = max(LEAST_BOUND, THREADS_PER_CPU * len(affinity()))
    if n > most:
        warnings.warn(
            f"n_threads={n}: this process may run on {len(affinity())} CPUs, so {most} threads are started",
            RuntimeWarning,
            stacklevel=2,
        )
    return min(n, most)


def affinity() -> set[int]:
    """Return the numbers of the CPUs that this process may run on (all of them where the system cannot say)."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(cpus: set[int], root: Path = Path("/")) -> int | None:
    """Return how many physical cores these CPUs lie on; None where Linux' sysfs does not tell."""
    cores = set()
    for cpu in cpus:
        siblings = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        if not siblings:
            return None
        cores.add(siblings)
    return len(cores)


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the CPUs that the cgroups (version 1 or 2) of this process and all their parents allow; None: no limit."""
    quotas = [q for directory in _cgroup_directories(root) for q in (_quota_v2(directory), _quota_v1(directory)) if q]
    return min(quotas, default=None)


def _quota_v2(directory: Path) -> float | None:
    """cpu.max holds "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    quota, _, period = _read(directory / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(directory: Path) -> float | None:
    """A quota of -1 is none."""
    return _ratio(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) and int(period) else None


def _cgroup_directories(root: Path) -> Iterator[Path]:
    """The directories of the groups that may limit this process' CPUs, each followed by its parents up to the mount."""
    groups = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    for line in _read(root / "proc/self/mountinfo").splitlines():
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
    """The parts of a group's path that lie below what is mounted; none where it lies elsewhere (a container)."""
    try:
        parts = PurePosixPath(path).relative_to(mount_root).parts
    except ValueError:
        return ()
    return () if ".." in parts else parts


def _read(path: Path) -> str:
    """The text of a file of the kernel; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
