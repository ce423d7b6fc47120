"""Backends execute plans. Each one compiles a plan for its own memory, threads and kernels (docs/backends.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend


def _cpu(params: EngineParams) -> Backend:
    from realizar.backends.cpu.backend import CPUBackend

    return CPUBackend(params.n_threads)


def _numpy(params: EngineParams) -> Backend:
    from realizar.backends.numpy.backend import NumpyBackend

    return NumpyBackend()


BACKENDS: dict[str, Callable[[EngineParams], Backend]] = {"cpu": _cpu, "numpy": _numpy}
"""`EngineParams.backend` -> what makes it; a backend is imported when it is first made."""


def make(params: EngineParams) -> Backend:
    """Return the backend for these params."""
    return BACKENDS[params.backend](params)
