"""Backends execute plans. Each one compiles a plan for its own memory, threads and kernels (docs/backends.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realizar.backends.cpu.backend import CPUBackend

if TYPE_CHECKING:
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend


def _cpu(params: EngineParams) -> Backend:
    return CPUBackend(params.n_threads)


def _numpy(params: EngineParams) -> Backend:
    from realizar.backends.numpy.backend import NumpyBackend

    return NumpyBackend()


def _wgpu(params: EngineParams) -> Backend:
    from realizar.backends.wgpu.backend import WgpuBackend

    return WgpuBackend()


BACKENDS: dict[str, Callable[[EngineParams], Backend]] = {"cpu": _cpu, "numpy": _numpy, "wgpu": _wgpu}
"""`EngineParams.backend` -> function that creates it. Backends other than the default are imported when first created;
the kernels are imported early, since loading them later fails with an ImportError if memory is short."""


def make(params: EngineParams) -> Backend:
    """Return the backend for these params."""
    return BACKENDS[params.backend](params)
