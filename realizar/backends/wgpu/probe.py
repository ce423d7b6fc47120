"""Measurement of a GPU's limits: bytes read, multiply-adds in registers, dispatches and round trips."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realizar.errors import DeviceError, describe_exception

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device

READ_BYTES = 256 << 20
"""Bytes that are read: more than a GPU's caches hold, where a kernel can read such a buffer."""
GROUPS, SIZE = 1024, 256
"""Workgroups of the kernels, and invocations of each."""
ROUNDS = 256
"""Repetitions of a measurement of arithmetic, in the kernel."""
N_DISPATCHES = 64
ENOUGH_S = 0.02
"""A measurement is repeated until it takes as long."""
MAX_REPEATS = 256

READ = """
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(SIZE) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec4<u32>(0u);
    for (var i = id.x; i < arrayLength(&x); i += GROUPSu * SIZEu) { sum ^= x[i]; }
    y[id.x] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}
"""
INT8 = """
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(SIZE) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = x[id.x].x;
    var s = vec4<i32>(i32(id.x));
    for (var i = 0u; i < ROUNDSu; i++) {
        s += vec4<i32>(dot4I8Packed(a, u32(s.x)), dot4I8Packed(a, u32(s.y)),
                       dot4I8Packed(a, u32(s.z)), dot4I8Packed(a, u32(s.w)));
    }
    y[id.x] = u32(s.x + s.y + s.z + s.w);
}
"""
F32 = """
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(SIZE) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = vec4<f32>(x[id.x]);
    var s = vec4<f32>(f32(id.x));
    for (var i = 0u; i < ROUNDSu; i++) { s = fma(s, a, a); }
    y[id.x] = u32(s.x + s.y + s.z + s.w);
}
"""
NOTHING = """
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1) fn main() { y[0] = x[0].x ^ y[0]; }
"""


class Limits(NamedTuple):
    """What a GPU does at most: 10^9 bytes and 10^12 operations per second; seconds of a dispatch and a round trip."""

    read_gb_s: float
    int8_tops: float
    f32_tops: float
    dispatch_s: float
    round_trip_s: float


def probe(device: Device) -> Limits:
    """Measure the limits of a device, which takes some tenths of a second.

    A dispatch waits for the one before, as those of a step do. Raises DeviceError if the device fails.
    """
    import wgpu

    n_bytes = min(READ_BYTES, device.max_binding) // 16 * 16
    try:
        with _Probe(device, n_bytes) as own:
            idle = own.seconds(NOTHING, 1, 1)
            dispatch = own.seconds(NOTHING, 1, N_DISPATCHES) - idle
            read = own.seconds(READ, GROUPS, 1) - idle
            int8, f32 = (own.seconds(source, GROUPS, 1) - idle for source in (INT8, F32))
    except (RuntimeError, wgpu.GPUError) as error:
        raise DeviceError(f"{device.name} cannot be measured: {describe_exception(error)}") from error
    n = GROUPS * SIZE * ROUNDS
    least = 1e-9
    return Limits(
        n_bytes / max(read, least) / 1e9, n * 32 / max(int8, least) / 1e12, n * 8 / max(f32, least) / 1e12,
        max(dispatch, 0.0) / N_DISPATCHES, idle,
    )  # fmt: skip


class _Probe:
    def __init__(self, device: Device, n_bytes: int) -> None:
        self._device = device
        self._x = device.buffer(max(n_bytes, 16 * GROUPS * SIZE))
        self._y, self._staging = device.buffer(4 * GROUPS * SIZE), device.buffer(4, reads_back=True)

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *error: object) -> None:
        for buffer in (self._x, self._y, self._staging):
            buffer.destroy()

    def seconds(self, source: str, n_groups: int, n_dispatches: int) -> float:
        """Return the least time from submitting dispatches of a kernel to reading a result of the last one."""
        run = self._runner(source, n_groups, n_dispatches)
        run()  # compiles
        found: list[float] = []
        while sum(found) < ENOUGH_S and len(found) < MAX_REPEATS:
            begin = time.perf_counter()
            run()
            found.append(time.perf_counter() - begin)
        return min(found)

    def _runner(self, source: str, n_groups: int, n_dispatches: int) -> Callable[[], Any]:
        from realizar.backends.wgpu.native import Commands

        gpu, commands = self._device.gpu, Commands(self._device)
        for name, value in (("SIZE", SIZE), ("GROUPS", GROUPS), ("ROUNDS", ROUNDS)):
            source = source.replace(name, str(value))
        module = gpu.create_shader_module(code=source)
        pipeline = gpu.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": "main"})
        bound = [{"binding": i, "resource": {"buffer": at}} for i, at in enumerate((self._x, self._y))]
        group = gpu.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=bound)

        def run() -> np.ndarray[Any, Any]:
            encoder = gpu.create_command_encoder()
            passed = encoder.begin_compute_pass()
            passed.set_pipeline(pipeline)
            passed.set_bind_group(0, group)
            for _ in range(n_dispatches):
                passed.dispatch_workgroups(n_groups)
            passed.end()
            encoder.copy_buffer_to_buffer(self._y, 0, self._staging, 0, 4)
            commands.submit_encoded(encoder.finish())
            return commands.read(self._staging, 4)

        return run
