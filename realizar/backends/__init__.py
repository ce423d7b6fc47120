"""Backends: what runs plans. Each one binds a plan to its own memory, threads and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.backends.cpu.backend import CPUBackend

if TYPE_CHECKING:
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend


def make(params: EngineParams) -> Backend:
    """Return the backend that the params ask for."""
    return CPUBackend(params.n_threads)
