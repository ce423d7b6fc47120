"""Rates of the devices that may compute a model: measured where they are, as those of the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from realizar import backends
from realizar._kernels import table
from realizar.backends.cpu.threads import default_threads
from realizar.planning.floor import Rates
from realizar.planning.machine import f32_tops, int8_tops, read_gb_s

PROBE_BYTES = 256 << 20
"""Read for the bandwidth of the CPU; larger than its caches."""


@dataclass(frozen=True)
class DeviceRates:
    """What a device can do per second at most.

    Attributes
    ----------
    rates : Rates
    op_s : float
        Seconds that an op takes at least, whatever its size: those of a dispatch.
    step_s : float
        Seconds of a step in which nothing is computed: a submission, and reading its result.
    """

    rates: Rates
    op_s: float = 0.0
    step_s: float = 0.0


def rates_of(device: str, n_threads: int | None = None) -> DeviceRates:
    """Measure "cpu" or "gpu:N"; only once in a process.

    Raises
    ------
    RealizarError
        As `open_device`.
    """
    return _of_cpu(n_threads or default_threads().n) if device == "cpu" else _of_gpu(*backends.gpus(device))


@cache
def _of_cpu(n_threads: int) -> DeviceRates:
    isa = table.current()
    read = read_gb_s([np.ones(PROBE_BYTES, np.uint8)], n_threads)
    return DeviceRates(Rates(read, int8_tops(isa, n_threads), f32_tops(isa, n_threads)))


@cache
def _of_gpu(number: int) -> DeviceRates:
    from realizar.backends.wgpu.device import open_device
    from realizar.backends.wgpu.probe import probe

    found = probe(open_device(number))
    return DeviceRates(Rates(found.read_gb_s, found.int8_tops, found.f32_tops), found.dispatch_s, found.round_trip_s)
