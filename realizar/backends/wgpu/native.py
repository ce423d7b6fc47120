"""Commands: encodes dispatches and reads buffers through the C functions of wgpu-native.

The public functions of the package wgpu cost several microseconds each: they make objects and catch errors of every
call. The three calls of a dispatch, hundreds of times a token, go to the library directly; their errors are reported by
the call that ends the encoding, which is a public one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.errors import DeviceError, describe_exception

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device


def trusted_module(gpu: Any, name: str, source: str) -> Any:
    """Return a shader module without checks of indices and loops at run time, which prevent that loops are unrolled.

    Every id that a kernel reads as an index is checked on the host (`BatchChecks`). Raises wgpu.GPUError.
    """
    from wgpu.backends.wgpu_native._api import GPUShaderModule, ffi, lib, libf

    text = source.encode()
    data = ffi.new("char[]", text)
    wgsl = ffi.new("WGPUShaderSourceWGSL *")
    wgsl.chain.sType, wgsl.code.data, wgsl.code.length = lib.WGPUSType_ShaderSourceWGSL, data, len(text)
    described = ffi.new("WGPUShaderModuleDescriptor *")
    described.nextInChain = ffi.cast("WGPUChainedStruct *", wgsl)
    made = libf.wgpuDeviceCreateShaderModuleTrusted(gpu._internal, described, lib.WGPUShaderRuntimeChecks_None)
    return GPUShaderModule(name, made, gpu)


SPINS = 2000
"""Polls of a GPU before the thread sleeps: some milliseconds. Waking up takes a tenth of one."""
PATIENCE = 10.0
"""Seconds in which an idle device must have called back."""


class Call(NamedTuple):
    """One dispatch: handles of a pipeline and of bind group 1, and the number of workgroups."""

    pipeline: Any
    group: Any
    x: int
    y: int
    z: int


class Copy(NamedTuple):
    """A copy of n_bytes between buffers."""

    source: Any
    source_at: int
    target: Any
    target_at: int
    n_bytes: int


class Commands:
    """Submits work to a device and reads results.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        import wgpu
        from wgpu.backends.wgpu_native._ffi import ffi, lib

        self._errors = (RuntimeError, wgpu.GPUError)
        self._device, self._ffi, self._lib = device, ffi, lib
        self._status: list[int] = []
        self._called = threading.Event()
        callback = ffi.callback("void(WGPUMapAsyncStatus, WGPUStringView, void *, void *)", self._mapped)
        self._on_mapped = ffi.new("WGPUBufferMapCallbackInfo *")
        self._on_mapped.mode = lib.WGPUCallbackMode_AllowProcessEvents
        self._on_mapped.callback = callback
        self._callback = callback  # the struct does not keep it

    def submit(self, step: Any, calls: Sequence[Call], copies: Sequence[Copy] = ()) -> None:
        """Encode and submit dispatches, in order, then copies; parameters and errors as `encode`."""
        self.submit_encoded(self.encode(step, calls, copies))

    def submit_encoded(self, encoded: Any) -> None:
        """Submit the result of `encode`, which can be submitted once; raises like it."""
        try:
            self._device.gpu.queue.submit([encoded])
        except self._errors as error:
            raise self._refusal("a step", error) from error

    def encode(self, step: Any, calls: Sequence[Call], copies: Sequence[Copy] = ()) -> Any:
        """Return a command buffer with dispatches, in order, and copies after them.

        Parameters
        ----------
        step : wgpu bind group
            Group 0, which dispatches need.
        calls : sequence of Call
        copies : sequence of Copy

        Raises
        ------
        DeviceError
            If the device was lost or refuses a command.
        """
        try:
            encoder = self._device.gpu.create_command_encoder()
            if calls:
                compute = encoder.begin_compute_pass()
                self._dispatch(compute._internal, step._internal, calls)
                compute.end()
            for copy in copies:
                encoder.copy_buffer_to_buffer(*copy)
            return encoder.finish()
        except self._errors as error:
            raise self._refusal("a step", error) from error

    def bind_group(self, layout: Any, entries: list[dict[str, Any]]) -> Any:
        """Return the buffers of a dispatch as a wgpu bind group; raises like `submit`."""
        try:
            return self._device.gpu.create_bind_group(layout=layout, entries=entries)
        except self._errors as error:
            raise self._refusal("a bind group", error) from error

    def _dispatch(self, compute: Any, step: Any, calls: Iterable[Call]) -> None:
        lib, null = self._lib, self._ffi.NULL
        set_pipeline, set_group = lib.wgpuComputePassEncoderSetPipeline, lib.wgpuComputePassEncoderSetBindGroup
        dispatch, last = lib.wgpuComputePassEncoderDispatchWorkgroups, None
        for pipeline, group, x, y, z in calls:
            if pipeline is not last:
                set_pipeline(compute, pipeline)
                if last is None:
                    set_group(compute, 0, step, 0, null)
                last = pipeline
            set_group(compute, 1, group, 0, null)
            dispatch(compute, x, y, z)

    def write(self, buffer: Any, at: int, data: npt.NDArray[Any]) -> None:
        """Write an array into a buffer, before the dispatches that are submitted later; raises like `submit`."""
        try:
            self._device.gpu.queue.write_buffer(buffer, at, data)
        except self._errors as error:
            raise self._refusal("data", error) from error

    def read(self, staging: Any, n_bytes: int) -> npt.NDArray[np.uint8]:
        """Wait for the work that writes a buffer that was made to be read, and return a copy of its first n_bytes.

        Raises
        ------
        DeviceError
            If the device was lost.
        """
        lib, buffer = self._lib, staging._internal
        self._status.clear()
        self._called.clear()
        lib.wgpuBufferMapAsync(buffer, lib.WGPUMapMode_Read, 0, n_bytes, self._on_mapped[0])
        for _ in range(0 if self._device.is_software else SPINS):
            if self._called.is_set():
                break
            lib.wgpuDevicePoll(self._device.gpu._internal, False, self._ffi.NULL)
        is_idle = False
        while not self._called.is_set() and not is_idle:
            is_idle = bool(lib.wgpuDevicePoll(self._device.gpu._internal, True, self._ffi.NULL))
        self._called.wait(PATIENCE)  # a call of another thread may have found the result, and be about to call back
        if self._status != [lib.WGPUMapAsyncStatus_Success]:
            self._device.lose()
            raise DeviceError(f"{self._device.name} was lost: a result cannot be read; open the model again")
        found = lib.wgpuBufferGetConstMappedRange(buffer, 0, n_bytes)
        out = np.frombuffer(self._ffi.buffer(found, n_bytes), np.uint8).copy()
        lib.wgpuBufferUnmap(buffer)
        return out

    def _refusal(self, what: str, error: BaseException) -> DeviceError:
        """Return the error of a device that has failed; models that are opened later get another one."""
        self._device.lose()
        return DeviceError(f"{self._device.name} refuses {what}: {describe_exception(error)}; open the model again")

    def _mapped(self, status: int, message: Any, _first: Any, _second: Any) -> None:
        self._status.append(status)
        self._called.set()
