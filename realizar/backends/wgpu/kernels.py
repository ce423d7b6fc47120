"""Kernel: a WGSL file of shaders/ with its constants, compiled for a device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from realizar.errors import DeviceError

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device

Constant = int | float | bool | str
"""A number becomes a `const` in front of the text; a text replaces ``${NAME}``."""

_BINDING = re.compile(r"@group\(1\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+)")


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled kernel. Bind group 0 has the inputs of the step (shaders/step.wgsl), bind group 1 its own buffers.

    Attributes
    ----------
    name : str
    bindings : tuple of (int, str)
        Numbers and names of its buffers.
    pipeline, layout : wgpu objects
        `layout` is that of bind group 1.
    """

    name: str
    bindings: tuple[tuple[int, str], ...]
    pipeline: Any
    layout: Any


def kernel(device: Device, name: str, constants: Mapping[str, Constant], parts: Sequence[str] = ()) -> Kernel:
    """Return a kernel; the same one for the same arguments.

    Parameters
    ----------
    device : Device
    name : str
        Of the file in shaders/, without ".wgsl".
    constants : dict
        Values of the names that the text uses and does not define.
    parts : sequence of str
        Further files, before the text, such as the one that reads a format of weights.

    Raises
    ------
    DeviceError
        If the driver does not compile it.
    """
    key = (name, tuple(parts), tuple(sorted(constants.items())))
    if key not in device.kernels:
        device.kernels[key] = _compile(device, name, _source(name, constants, parts))
    found: Kernel = device.kernels[key]
    return found


def _source(name: str, constants: Mapping[str, Constant], parts: Sequence[str]) -> str:
    text = "\n".join(_text(part) for part in ("step", *parts, name))
    for key, value in constants.items():
        if isinstance(value, str):
            text = text.replace(f"${{{key}}}", value)
    return "\n".join([*(_constant(k, v) for k, v in constants.items() if not isinstance(v, str)), text])


@cache
def _text(name: str) -> str:
    return resources.files("realizar.backends.wgpu").joinpath(f"shaders/{name}.wgsl").read_text(encoding="utf-8")


def _constant(name: str, value: Constant) -> str:
    if isinstance(value, bool):
        return f"const {name}: bool = {str(value).lower()};"
    if isinstance(value, int):
        return f"const {name}: u32 = {value}u;"
    return f"const {name}: f32 = {float(np.float32(value))!r}f;"


def _compile(device: Device, name: str, source: str) -> Kernel:
    import wgpu

    found = sorted((int(number), kind, buffer) for number, kind, buffer in _BINDING.findall(source))
    entries = [
        {
            "binding": number,
            "visibility": wgpu.ShaderStage.COMPUTE,
            "buffer": {"type": "read-only-storage" if kind == "read" else "storage"},
        }
        for number, kind, _ in found
    ]
    try:
        layout = device.gpu.create_bind_group_layout(entries=entries)
        pipeline = device.gpu.create_compute_pipeline(
            layout=device.gpu.create_pipeline_layout(bind_group_layouts=[step_layout(device), layout]),
            compute={"module": device.gpu.create_shader_module(code=source, label=name), "entry_point": "main"},
        )
    except (RuntimeError, wgpu.GPUError) as error:
        raise DeviceError(f"{device.name} does not compile the kernel {name!r}: {error}") from error
    return Kernel(name, tuple((number, buffer) for number, _, buffer in found), pipeline, layout)


def step_layout(device: Device) -> Any:
    """Return the layout of bind group 0, the inputs of the step."""
    import wgpu

    if "step layout" not in device.kernels:
        entry = {"binding": 0, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": {"type": "read-only-storage"}}
        device.kernels["step layout"] = device.gpu.create_bind_group_layout(entries=[entry])
    return device.kernels["step layout"]
