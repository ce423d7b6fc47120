"""Backends execute plans. Each one compiles a plan for its own memory, threads and kernels (docs/backends.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from realizar.arch import registry
from realizar.backends.cpu.backend import CPUBackend
from realizar.errors import ParameterError, PluginError, RealizarError, describe_exception

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

    return WgpuBackend(*gpus(params.device)[:1])


BACKENDS: dict[str, Callable[[EngineParams], Backend]] = {"cpu": _cpu, "numpy": _numpy, "wgpu": _wgpu}
"""`EngineParams.backend` -> function that creates it. Backends other than the default are imported when first created;
the kernels are imported early, since loading them later fails with an ImportError if memory is short."""

MEMBERS = ("n_threads", "passes", "applies_adapters", "storage", "compile", "summarize", "close")
"""What `runtime.backend.Backend` has."""


def gpus(device: str) -> tuple[int, ...]:
    """Return the numbers of the GPUs in `EngineParams.device`; none of "cpu" and "auto"."""
    names = device.split(",") if device.startswith("gpu") else []
    return tuple(int(name.partition(":")[2] or 0) for name in names)


def maker(name: str) -> Callable[[EngineParams], Backend]:
    """Return the function that creates a backend of this name, ours or that of a plugin.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    plugins: Mapping[str, Callable[[EngineParams], Backend]] = registry.default().backends
    if name not in plugins:
        known = " or ".join(map(repr, (*BACKENDS, *sorted(plugins))))
        raise ParameterError(f"backend={name!r}: must be {known}; a plugin may bring others (docs/plugins.md)")
    return partial(_of_plugin, name, plugins[name])


def _of_plugin(name: str, factory: Callable[[EngineParams], Backend], params: EngineParams) -> Backend:
    """Return what the factory of a plugin makes.

    Raises
    ------
    PluginError
        If it fails, or what it returns lacks members of a backend.
    """
    try:
        made = factory(params)
    except RealizarError:
        raise
    except Exception as error:
        raise PluginError(f"backend {name}: its plugin failed: {describe_exception(error)}") from error
    if lacking := [member for member in MEMBERS if not hasattr(made, member)]:
        raise PluginError(
            f"backend {name}: its plugin returned a {type(made).__name__}, which lacks {', '.join(lacking)} "
            "(docs/backends.md)"
        )
    return made


def make(params: EngineParams) -> Backend:
    """Return one backend that computes everything: that of the name, or of the first GPU of the device."""
    return maker("wgpu" if gpus(params.device) else params.backend)(params)
