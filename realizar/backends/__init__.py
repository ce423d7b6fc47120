"""Backends execute plans. Each one compiles a plan for its own memory, threads and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realizar.backends.cpu.backend import CPUBackend

if TYPE_CHECKING:
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend


def make(params: EngineParams) -> Backend:
    """Return the backend for these params."""
    return CPUBackend(params.n_threads)
