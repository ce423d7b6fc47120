"""Kernel: a WGSL file of shaders/ with its constants, compiled for a device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar import forks
from realizar.backends.wgpu.native import trusted_module
from realizar.errors import DeviceError

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device

Constant = int | float | bool | str
"""A number becomes a `const` in front of the text; a text replaces ``${NAME}``."""

_DECLARED = re.compile(r"^(?:@group\(1\) @binding\(\d+\) )?(?:fn|const|struct|alias|var<[^>]*>) (\w+)", re.MULTILINE)
"""Names that a text declares."""
_BINDING = re.compile(r"@group\(1\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+)")


_CONDITION = re.compile(r"^// if (\w+)\n(.*?)^// end\n", re.DOTALL | re.MULTILINE)
"""Lines that a kernel has only if a constant is true: bindings above all, each of which takes time to encode."""


class Binding(NamedTuple):
    """One of a kernel's buffers in bind group 1: its number and name, and whether it is written."""

    number: int
    name: str
    is_written: bool


class Part(NamedTuple):
    """Files of shaders/ that a kernel has under names of its own, so that it can have them more than once.

    Attributes
    ----------
    files : tuple of str
    prefix : str
        Put before the names that they declare, as it is or in capitals.
    first_binding : int
        Added to the numbers of their bindings.
    constants : tuple of (str, Constant)
        Their constants, by name without the prefix.
    """

    files: tuple[str, ...]
    prefix: str
    first_binding: int
    constants: tuple[tuple[str, Constant], ...]

    def text(self) -> str:
        """Return the texts, one after another, after their constants."""
        text = _filled("\n".join(map(_text, self.files)), dict(self.constants))
        buffers = [name.upper() for _, _, name in _BINDING.findall(text)]
        names = [*_DECLARED.findall(text), *(f"{name}_{of}" for name in buffers for of in ("LD", "AT"))]
        text = re.sub(rf"(?<![.\w])({'|'.join(names)})\b", lambda found: self.named(found[1]), text)
        return re.sub(r"@binding\((\d+)\)", lambda found: f"@binding({int(found[1]) + self.first_binding})", text)

    def named(self, name: str) -> str:
        """Return the name in the kernel of what is called `name` in the files."""
        return (self.prefix.upper() if name.isupper() else self.prefix) + name


class Kernel:
    """A kernel, compiled when it is first used, or before: by threads, while weights are uploaded.

    Bind group 0 has the inputs of the step (shaders/step.wgsl), bind group 1 its own buffers.

    Parameters
    ----------
    device : Device
    name : str
    source : str
        WGSL.

    Attributes
    ----------
    name : str
    bindings : tuple of Binding
    """

    def __init__(self, device: Device, name: str, source: str) -> None:
        found = sorted((int(number), buffer, kind != "read") for number, kind, buffer in _BINDING.findall(source))
        self.name, self.bindings = name, tuple(Binding(*at) for at in found)
        self._device, self._source, self._lock = device, source, forks.Lock()
        self._layout: Any = None
        self._pipeline: Any = None

    @property
    def layout(self) -> Any:
        """The layout of bind group 1."""
        with self._lock:
            if self._layout is None:
                self._layout = self._new_layout()
            return self._layout

    @property
    def pipeline(self) -> Any:
        """The pipeline.

        Raises
        ------
        DeviceError
            If the driver does not compile it.
        """
        with self._lock:
            if self._pipeline is None:
                self._pipeline = self._compiled()
            return self._pipeline

    def _new_layout(self) -> Any:
        import wgpu

        entries = [
            {
                "binding": at.number,
                "visibility": wgpu.ShaderStage.COMPUTE,
                "buffer": {"type": "storage" if at.is_written else "read-only-storage"},
            }
            for at in self.bindings
        ]
        return self._device.gpu.create_bind_group_layout(entries=entries)

    def _compiled(self) -> Any:
        import wgpu

        gpu = self._device.gpu
        try:
            module = trusted_module(gpu, self.name, self._source)
            return gpu.create_compute_pipeline(
                layout=gpu.create_pipeline_layout(bind_group_layouts=[step_layout(self._device), self.layout]),
                compute={"module": module, "entry_point": "main"},
            )
        except (RuntimeError, wgpu.GPUError) as error:
            self._device.lose()
            raise DeviceError(f"{self._device.name} does not compile the kernel {self.name!r}: {error}") from error


def kernel(device: Device, name: str, constants: Mapping[str, Constant], parts: Sequence[str | Part] = ()) -> Kernel:
    """Return a kernel; the same one for the same arguments.

    Parameters
    ----------
    device : Device
    name : str
        Of the file in shaders/, without ".wgsl".
    constants : dict
        Values of the names that the text uses and does not define.
    parts : sequence of str or Part
        Further files, before the text, such as the one that reads a format of weights.
    """
    key = (name, tuple(parts), tuple(sorted(constants.items())))
    with device.lock:
        if key not in device.kernels:
            made = Kernel(device, name, _source(name, constants, parts))
            device.kernels[key] = made
            if not device.is_software:  # which takes seconds for each
                device.compiler.submit(lambda: made.pipeline)
        found: Kernel = device.kernels[key]
        return found


def _source(name: str, constants: Mapping[str, Constant], parts: Sequence[str | Part]) -> str:
    own = [_text(part) if isinstance(part, str) else part.text() for part in ("step", *parts, name)]
    return _filled("\n".join(own), constants)


def _filled(text: str, constants: Mapping[str, Constant]) -> str:
    """Return a text with those of the constants that it uses."""
    text = _CONDITION.sub(lambda found: found[2] if constants.get(found[1]) else "", text)
    for key, value in constants.items():
        if isinstance(value, str):
            text = text.replace(f"${{{key}}}", value)
    used = set(re.findall(r"\w+", text))
    return "\n".join([*(_constant(k, v) for k, v in constants.items() if not isinstance(v, str) and k in used), text])


@cache
def _text(name: str) -> str:
    return resources.files("realizar.backends.wgpu").joinpath(f"shaders/{name}.wgsl").read_text(encoding="utf-8")


def _constant(name: str, value: Constant) -> str:
    if isinstance(value, bool):
        return f"const {name}: bool = {str(value).lower()};"
    if isinstance(value, int):
        return f"const {name}: u32 = {value}u;"
    return f"const {name}: f32 = {float(np.float32(value))!r}f;"


def step_layout(device: Device) -> Any:
    """Return the layout of bind group 0, the inputs of the step."""
    import wgpu

    with device.lock:
        if "step layout" not in device.kernels:
            entry = {"binding": 0, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": {"type": "read-only-storage"}}
            device.kernels["step layout"] = device.gpu.create_bind_group_layout(entries=[entry])
        return device.kernels["step layout"]
