"""Estimates of what computes a model: for each device that was asked for, its layers, memory and speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realizar import backends
from realizar.backends.wgpu.forms import UNPACK
from realizar.backends.wgpu.ops import LOWERED
from realizar.errors import RealizarError
from realizar.planning.device_rates import rates_of
from realizar.planning.offload import CPU, choose, device_needs, offload_to, on_cpu, step_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realizar.backends.wgpu.gpus import GPU
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.planning.device_rates import DeviceRates
    from realizar.planning.offload import Offload

FLOATS = ("F32", "F16", "BF16")
"""Formats whose values a GPU keeps as they are, or as float32 without loss of speed in its kernels."""


@dataclass(frozen=True)
class DeviceEstimate:
    """A way to compute a model.

    Attributes
    ----------
    device : str
        As EngineParams.device.
    split : str
        Which layers each device computes.
    n_gpu_layers : int
    gpu_bytes : dict
        Bytes of weights, cache and values in the memory of GPUs; "total" includes a reserve.
    decode_tok_s : float | None
        Upper limit for one sequence with a half-full cache; None for encoders.
    prefill_tok_s : float
        Upper limit for a prompt of one step.
    host_ops : tuple of str
        Ops without a kernel on the GPU, each of which costs a round trip.
    slower_paths : tuple of str
        What is slower since the GPU lacks a feature, or the backend a kernel.
    """

    device: str
    split: str
    n_gpu_layers: int
    gpu_bytes: dict[str, int]
    decode_tok_s: float | None
    prefill_tok_s: float
    host_ops: tuple[str, ...]
    slower_paths: tuple[str, ...]


def device_estimates(model: Model, params: EngineParams) -> list[DeviceEstimate]:
    """Return an estimate for the CPU, for GPUs, and for what the params ask for.

    With device="auto": all real GPUs. Raises like `choose` for a GPU that was asked for by name.
    """
    ways = [(CPU, on_cpu(model))]
    if params.device == "auto":
        ways += [(f"gpu:{each.number}", offload_to([each], model, params)) for each in _real()]
        ways.append(("auto", choose(model, params)))
    elif params.device != CPU:
        ways.append((params.device, choose(model, params)))
    rates = {device: rates_of(device, params.n_threads) for _, way in ways for device in way.members}
    return [_estimate(device, way, model, params, rates) for device, way in ways]


def _real() -> list[GPU]:
    from realizar.backends.wgpu.device import list_gpus

    try:
        return [gpu for gpu in list_gpus() if not gpu.is_software]
    except RealizarError:
        return []


def _estimate(
    device: str, way: Offload, model: Model, params: EngineParams, rates: dict[str, DeviceRates]
) -> DeviceEstimate:  # fmt: skip
    own = [each for where, each in device_needs(way, model, params) if where != CPU]
    parts = {name: sum(getattr(each, name) for each in own) for name in ("weights", "cache", "values")}
    has_gpu, n_prompt = way.only != CPU, min(params.n_batch, params.n_ctx or params.n_batch)
    decode, prefill = step_seconds(way, model, params, rates)
    return DeviceEstimate(
        device=device,
        split=str(way),
        n_gpu_layers=way.n_gpu_layers,
        gpu_bytes={**parts, "total": sum(each.n_bytes for each in own)},
        decode_tok_s=1 / decode if "decode" in model.graphs else None,
        prefill_tok_s=n_prompt / prefill,
        host_ops=tuple(sorted(_host_ops(model))) if has_gpu else (),
        slower_paths=tuple(_slower(way, model)) if has_gpu else (),
    )


def _host_ops(model: Model) -> set[str]:
    """The ops of all programs without a kernel in WGSL."""
    ops = [op for name in model.graphs for op in model.plan(name).ops if not op.spec.is_override]
    return {op.op for op in ops if op.op not in LOWERED or op.plugin_op is not None}


def _slower(way: Offload, model: Model) -> Iterator[str]:
    from realizar.backends.wgpu.device import open_device

    for name in way.gpus:
        device = open_device(*backends.gpus(name))
        if not device.subgroup_size:
            yield f"{name} has no subgroups of 16: products with few rows add in workgroup memory"
        if not device.uses_tiles:
            yield f"{name} is in software: products with many rows have no tiles"
    kept = sorted({tensor.type for tensor in model.tensors.values()} - {*UNPACK, *FLOATS})
    if kept:
        yield f"{', '.join(kept)}: kept and multiplied as float32"
