"""The default thread count, with fake /sys and /proc trees modeled on real machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from realizar.backends.cpu import threads

V2_MOUNT = "35 24 0:30 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "36 24 0:31 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def siblings(*groups: str) -> dict[str, str]:
    """Write topology files of CPUs 0, 1, ..., each with its sibling list."""
    return {f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": g + "\n" for i, g in enumerate(groups)}


def test_physical_cores_count_siblings_once(tmp_path: Path) -> None:
    write(tmp_path, siblings("0,2", "1,3", "0,2", "1,3"))
    assert threads.physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert threads.physical_cores({0, 2}, tmp_path) == 1
    assert threads.physical_cores({0, 1}, tmp_path) == 2
    assert threads.physical_cores({0, 9}, tmp_path) is None


@pytest.mark.parametrize(("text", "quota"), [("250000 100000", 2.5), ("max 100000", None), ("", None), ("50000", None)])
def test_quota_v2(tmp_path: Path, text: str, quota: float | None) -> None:
    mount = V2_MOUNT.format(root="/")
    write(tmp_path, {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": mount, "sys/fs/cgroup/a/b/cpu.max": text})
    assert threads.cgroup_quota(tmp_path) == quota


def test_quota_v2_of_a_parent_binds(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2_MOUNT.format(root="/")}
    files |= {"sys/fs/cgroup/a/b/cpu.max": "800000 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000"}
    assert threads.cgroup_quota(write(tmp_path, files)) == 3.0


@pytest.mark.parametrize("path", ["/docker/abc", "/", "/../../other"])
def test_quota_v2_in_a_container(tmp_path: Path, path: str) -> None:
    """The container's own group is mounted at the top, whatever its name on the host."""
    mount = V2_MOUNT.format(root="/docker/abc" if path == "/docker/abc" else "/")
    files = {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": mount, "sys/fs/cgroup/cpu.max": "150000 100000"}
    assert threads.cgroup_quota(write(tmp_path, files)) == 1.5


@pytest.mark.parametrize(("us", "quota"), [("150000", 1.5), ("-1", None)])
def test_quota_v1(tmp_path: Path, us: str, quota: float | None) -> None:
    group = "sys/fs/cgroup/cpu,cpuacct/job/"
    files = {
        "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/job\n0::/\n",
        "proc/self/mountinfo": V1_MOUNT.format(root="/"),
    }
    files |= {group + "cpu.cfs_quota_us": us, group + "cpu.cfs_period_us": "100000"}
    assert threads.cgroup_quota(write(tmp_path, files)) == quota


def test_default_is_the_minimum_with_an_explanation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "affinity", lambda: {0, 1, 2, 3})
    assert threads.default_threads(tmp_path).n == 4  # no other limit is known
    write(tmp_path, siblings("0,4", "1,5", "2,6", "2,6"))
    assert threads.default_threads(tmp_path).n == 3
    files = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": V2_MOUNT.format(root="/")}
    write(tmp_path, files | {"sys/fs/cgroup/cpu.max": "110000 100000"})
    choice = threads.default_threads(tmp_path)
    assert choice.n == 2  # 1.1 rounded up
    assert str(choice) == (
        "2 threads, the minimum of: CPUs in the affinity mask 4, physical cores among them 3, CPUs of cgroup quota 1.1"
    )
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "20000 100000"})
    assert threads.default_threads(tmp_path).n == 1


def test_this_machine() -> None:
    choice = threads.default_threads()
    assert 1 <= choice.n <= len(threads.affinity())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason=f"{sys.platform} has no affinity masks")
def test_affinity_mask_is_obeyed() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert threads.default_threads().n == 1
    finally:
        os.sched_setaffinity(0, before)


def test_omp_num_threads_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = threads.default_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    assert threads.default_threads() == expected
