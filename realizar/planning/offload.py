"""Offload: which layers of a model GPUs compute, and the backend that computes them and the others."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from realizar import backends
from realizar.backends.staged.backend import StagedBackend
from realizar.backends.staged.placement import Placement
from realizar.errors import DeviceError, DeviceMemoryError, ParameterError, RealizarError
from realizar.planning.device_rates import rates_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar.backends.wgpu.gpus import GPU
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.planning.device_rates import DeviceRates
    from realizar.planning.needs import Needs
    from realizar.runtime.backend import Backend

T = TypeVar("T")

_log = logging.getLogger("realizar.devices")

CPU = "cpu"
DEFAULT_N_CTX = 4096
"""Context where the user names none and the model's own is longer."""
USABLE = 0.95
"""Part of a GPU's memory that a model may take where the driver does not say how much is free."""


@dataclass(frozen=True)
class Offload:
    """Where a model is computed.

    Attributes
    ----------
    gpus : tuple of str
        Devices "gpu:N" that have layers, in the order of their layers; empty: everything is on the CPU.
    n_layer, n_gpu_layers : int
        Layers of the model, and how many of them, the last ones, GPUs compute. All of them: the embedding is there too.
    shares : tuple of float
        Of the GPUs, how many of the layers each gets.
    n_cpu_moe : int
        Layers, from the first, whose experts stay on the CPU.
    tensors : tuple of (str, str)
        Regular expressions of tensor names -> devices.
    names : tuple of str
        Of the GPUs.
    why : str
        Why device="auto" chose this.
    host : str
        `EngineParams.backend`: what computes the layers that are not on `gpus`.
    """

    gpus: tuple[str, ...]
    n_layer: int
    n_gpu_layers: int
    shares: tuple[float, ...] = (1.0,)
    n_cpu_moe: int = 0
    tensors: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    why: str = ""
    host: str = CPU

    @property
    def members(self) -> tuple[str, ...]:
        """The devices of the members of the staged backend."""
        return (CPU, *self.gpus)

    @property
    def placement(self) -> Placement:
        """The placement of ops on `members`."""
        n_cpu = self.n_layer - self.n_gpu_layers
        whole, ends, sum_of_shares = [0] * n_cpu, 0.0, sum(self.shares)
        for number, share in enumerate(self.shares[: len(self.gpus)], 1):
            ends += share * self.n_gpu_layers / sum_of_shares
            whole += [number] * (n_cpu + round(ends) - len(whole))
        tensors = [(pattern, self.members.index(device)) for pattern, device in self.tensors]
        if self.n_cpu_moe:
            layers = "|".join(map(str, range(self.n_cpu_moe)))
            tensors.append((rf"blk\.({layers})\.ffn_.*_(ch)?exps", 0))
        last = len(self.gpus) if self.n_gpu_layers else 0
        return Placement(tuple(whole), 0 if n_cpu or not last else 1, last, tuple(tensors))

    @property
    def only(self) -> str | None:
        """The device that computes everything, if it is one."""
        if not self.gpus or (not self.n_gpu_layers and not self.tensors):
            return CPU
        is_whole = self.n_gpu_layers == self.n_layer and not self.tensors and not self.n_cpu_moe
        return self.gpus[0] if is_whole and len(self.gpus) == 1 else None

    def backend(self, params: EngineParams) -> Backend:
        """Return a backend that computes the model so; raises like the backends of the devices."""
        if self.only is not None:
            return _member(self.only, params)
        made: list[Backend] = []
        with ExitStack() as if_it_fails:
            for device in self.members:
                made.append(_member(device, params))
                if_it_fails.callback(made[-1].close)
            if_it_fails.pop_all()
        return StagedBackend(made, self.placement)

    def fewer(self, error: DeviceMemoryError) -> Offload:
        """Return this with fewer layers on the GPUs, for which there was no memory; warns of it.

        Raises
        ------
        DeviceMemoryError
            The one given, if there is no layer left to move.
        """
        if not self.n_gpu_layers:
            raise error
        n = self.n_gpu_layers * 3 // 4
        warnings.warn(
            f"{error}; trying n_gpu_layers={n} of {self.n_layer} instead of {self.n_gpu_layers}", stacklevel=4
        )
        return replace(self, n_gpu_layers=n)

    def __str__(self) -> str:
        """One line that says what is computed where."""
        layers, parts = self.placement.layers, []
        for number, device in enumerate((self.host, *self.gpus)):
            if own := [i for i, member in enumerate(layers) if member == number]:
                name = f" ({self.names[number - 1]})" if number and self.names else ""
                parts.append(f"{device}{name}: {_spans(own, self.n_layer)}")
        if self.n_cpu_moe:
            parts.append(f"experts of the first {self.n_cpu_moe} layers on the CPU")
        parts += [f"{pattern} on {device}" for pattern, device in self.tensors]
        return "; ".join(parts) + (f" ({self.why})" if self.why else "")


def compiled(offload: Offload, params: EngineParams, make: Callable[[Backend], T]) -> tuple[Offload, Backend, T]:
    """Return what a function makes of the backend of an offload; with fewer layers on GPUs while it lacks memory.

    Raises
    ------
    DeviceMemoryError
        If there is too little memory even with no layer on them.
    """
    while True:
        try:
            with ExitStack() as if_it_fails:
                backend = offload.backend(params)
                if_it_fails.callback(backend.close)
                made = make(backend)
                if_it_fails.pop_all()
                return offload, backend, made
        except DeviceMemoryError as error:
            offload = offload.fewer(error)


def choose(model: Model, params: EngineParams) -> Offload:
    """Return where a model is to be computed, by the params: as many layers on GPUs as their memory has room for.

    Raises
    ------
    ParameterError
        If a tensor's device is none of the model's.
    RealizarError, DeviceError
        If a GPU that was asked for by name cannot be used.
    """
    numbers = backends.gpus(params.device)
    if params.device == "auto":
        found = _auto(model, params)
    else:
        found = _on(numbers, model, params) if numbers else replace(on_cpu(model), host=params.backend)
    if params.device != CPU:
        _log.info("%s is computed by %s", model.file.path.name, found)
    return found


def on_cpu(model: Model, why: str = "") -> Offload:
    """Return that everything is computed on the CPU."""
    return Offload((), model.hp.n_layer, 0, why=why)


def _on(numbers: Sequence[int], model: Model, params: EngineParams) -> Offload:
    """Return the offload to these GPUs."""
    from realizar.backends.wgpu.device import list_gpus, open_device

    for number in numbers:
        open_device(number)  # raises if it cannot be used
    known = list_gpus()
    return offload_to([known[number] for number in numbers], model, params)


def offload_to(gpus: Sequence[GPU], model: Model, params: EngineParams) -> Offload:
    """Return the offload to these GPUs: the layers that the params ask for, or that have room, and experts and tensors.

    Raises
    ------
    ParameterError
        If a tensor's device is neither the CPU nor one of them.
    """
    memory = [_usable(gpu) for gpu in gpus]
    shares = tuple(map(float, memory)) if all(memory) else (1.0,) * len(memory)  # type: ignore[arg-type]
    devices, n_layer = tuple(f"gpu:{gpu.number}" for gpu in gpus), model.hp.n_layer
    tensors = tuple((pattern, devices[0] if where == "gpu" else where) for pattern, where in params.tensor_devices)
    for pattern, where in tensors:
        if where not in (CPU, *devices):
            raise ParameterError(f"tensor_devices: {pattern!r} is to be on {where}, but device={params.device!r}")
        if not any(re.search(pattern, name) for name in model.tensors):
            warnings.warn(f"tensor_devices: no tensor of {model.file.path.name} fits {pattern!r}", stacklevel=2)
    names = tuple(gpu.name for gpu in gpus)
    n_cpu_moe = min(params.n_cpu_moe, n_layer)
    make = partial(Offload, devices, n_layer, shares=shares, n_cpu_moe=n_cpu_moe, tensors=tensors, names=names)
    if params.n_gpu_layers is not None:
        return make(min(params.n_gpu_layers, n_layer))
    low, high = 0, n_layer  # the most layers for which there is room lie between
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(make(middle), memory, model, params):
            low = middle
        else:
            high = middle - 1
    return make(low) if low else make(0, why=f"no layer has room in the memory of {', '.join(names)}")


def _fits(offload: Offload, memory: Sequence[int | None], model: Model, params: EngineParams) -> bool:
    found = device_needs(offload, model, params)
    limits = dict(zip(offload.gpus, memory, strict=True))  # a GPU that is named twice counts by itself each time
    return all(
        limits.get(device) is None or each.n_bytes <= limits[device]  # type: ignore[operator]
        for device, each in found
        if device != CPU
    )


def device_needs(offload: Offload, model: Model, params: EngineParams) -> list[tuple[str, Needs]]:
    """Return what each device needs."""
    from realizar.planning.needs import needs  # the forms of the wgpu backend, which others do without

    n_ctx = params.n_ctx or min(model.hp.n_ctx_train, DEFAULT_N_CTX)
    found = needs(model, params, offload.placement, n_ctx)
    return [(offload.members[number], each) for number, each in found.items()]


def step_seconds(
    offload: Offload, model: Model, params: EngineParams, rates: dict[str, DeviceRates]
) -> tuple[float, float]:  # fmt: skip
    """Return the seconds of a decode step of one sequence, and of n_batch tokens of a prompt, at least.

    They are the sums of those of all devices, which compute one after another.
    """
    decode = prefill = 0.0
    for device, each in device_needs(offload, model, params):
        own = rates[device]
        waiting = own.op_s * each.n_ops + own.step_s
        decode += each.decode.seconds(own.rates) + waiting
        prefill += each.prefill.seconds(own.rates) + waiting
    return decode, prefill


def _auto(model: Model, params: EngineParams) -> Offload:
    """Return the offload to the best GPU if it is a real one, and faster unless the number of layers is given."""
    from realizar.backends.wgpu.device import list_gpus

    try:
        best = next((gpu for gpu in list_gpus() if not gpu.is_software), None)
        if best is None:
            return on_cpu(model, "there is no GPU")
        there = offload_to([best], model, params)
        if params.n_gpu_layers is not None:
            return there
        rates = {device: rates_of(device, params.n_threads) for device in there.members}
    except RealizarError as error:  # no package, a forked process, a GPU that cannot be opened
        if isinstance(error, ParameterError) and not isinstance(error, DeviceError):
            raise
        return on_cpu(model, str(error))
    index, what = (0, "a token") if "decode" in model.graphs else (1, f"an input of {params.n_batch} tokens")
    here, seconds = (step_seconds(each, model, params, rates)[index] for each in (on_cpu(model), there))
    why = f"{what} takes at least {1e3 * seconds:.2f} ms on {best.name}, {1e3 * here:.2f} ms on the CPU"
    return replace(there, why=why) if seconds < here else on_cpu(model, why)


def _usable(gpu: GPU) -> int | None:
    """Bytes of a GPU's memory that a model may take; None if unknown."""
    if gpu.free_bytes is not None:
        return gpu.free_bytes
    return None if gpu.memory_bytes is None else int(USABLE * gpu.memory_bytes)


def _member(device: str, params: EngineParams) -> Backend:
    return backends.make(replace(params, device=device, n_gpu_layers=None, tensor_devices=()))


def _spans(numbers: Sequence[int], n_layer: int) -> str:
    """Return consecutive layers as text."""
    if len(numbers) == n_layer:
        return f"all {n_layer} layers"
    return f"layers {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"layer {numbers[0]}"
