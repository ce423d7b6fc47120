"""WgpuProgram: a plan as a flat list of dispatches, with ops that have no kernel in between."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realizar.backends.numpy.inputs import SequenceInputs
from realizar.backends.wgpu.adapters import AdapterPool, AdapterTables
from realizar.backends.wgpu.arena import Arena
from realizar.backends.wgpu.host import HostOp
from realizar.backends.wgpu.kernels import step_layout
from realizar.backends.wgpu.lowering import ByRows, BySplits, Decoding, Dispatch, FromBatch, Lowering, Place, Work
from realizar.backends.wgpu.native import Call, Commands, Copy
from realizar.backends.wgpu.ops import LOWERED
from realizar.backends.wgpu.step import StepInputs
from realizar.errors import RealizarError
from realizar.runtime.batch_checks import UNLIMITED, BatchChecks, limits_of

if TYPE_CHECKING:
    from realizar.backends.wgpu.device import Device
    from realizar.backends.wgpu.storage import WgpuStorage
    from realizar.backends.wgpu.weights import Weights
    from realizar.graph import Node
    from realizar.graph.reference import TensorLike
    from realizar.runtime.backend import CompileParams
    from realizar.runtime.batch import Batch
    from realizar.runtime.plan import Plan
    from realizar.runtime.weights import Tensor

F32 = npt.NDArray[np.float32]

MAX_LISTS = 64
"""Lists of calls that are kept, one for each number of rows and outputs of a step."""

LENGTHS = 64
"""Lengths of sequences are rounded up to a multiple of this where they determine calls."""
SUBMISSION = 64
"""Calls that are submitted at a time: encoding them takes less time than a GPU takes for them."""


class Step(NamedTuple):
    """What the calls of a step depend on.

    Attributes
    ----------
    n, m : int
        Rows and outputs.
    longest : int
        Rows of the longest sequence, rounded up.
    is_decoding : bool
        Whether each sequence has one row.
    """

    n: int
    m: int
    longest: int
    is_decoding: bool


class Segment(NamedTuple):
    """Calls that are submitted together, and the op that runs on the host after them, if any."""

    calls: tuple[Call, ...]
    host: HostOp | None


class Ahead(NamedTuple):
    """A command buffer that was encoded while the device computed the same calls and copies for the step before."""

    step: Any
    calls: Sequence[Call]
    moves: Sequence[Copy]
    encoded: Any


class WgpuProgram:
    """A compiled plan.

    A step writes its inputs, submits all dispatches at once and reads the outputs. Each op without a kernel divides it:
    the host waits for its inputs, computes it in numpy and writes its outputs.

    Parameters
    ----------
    plan : Plan
    tensors : dict of str to Tensor
        By GGUF name.
    floats : dict of str to TensorLike
        The same tensors for ops on the host.
    device : Device
    weights : Weights
    storage : WgpuStorage
    pool : AdapterPool
        The factors of adapters.
    params : CompileParams

    Attributes
    ----------
    plan : Plan
    on_host : tuple of str
        Ops that run on the host, in order; a step waits for the device once for each.

    Raises
    ------
    GraphError
        If an op has neither a kernel nor a numpy definition.
    ParameterError
        As `limits_of`, or if there is not enough memory.
    """

    def __init__(
        self, plan: Plan, tensors: Mapping[str, Tensor], floats: Mapping[str, TensorLike], device: Device,
        weights: Weights, storage: WgpuStorage, pool: AdapterPool, params: CompileParams,
    ) -> None:  # fmt: skip
        self.plan, self._device, self._commands = plan, device, Commands(device)
        has_table = any(op.attrs.get("buckets") is not None for op in plan.ops)
        n_keys = params.n_ctx if has_table else UNLIMITED
        limits = limits_of(plan, tensors, params.n_ctx, storage.n_slots, storage.n_blocks, n_keys)
        self._checks = BatchChecks(plan, limits, params.adapters)
        self._inputs = SequenceInputs(plan, floats, storage.host, params)
        adapters = AdapterTables(pool, params.adapters)
        self._pool, self._factors = pool, pool.buffer
        self._step = StepInputs(plan, params.n_ctx, tensors, adapters)
        self._low = Lowering(plan, device, weights, storage, tensors, self._step, adapters, params)
        self._works = [self._lowered(index, op, storage) for index, op in enumerate(plan.ops)]
        self.on_host = tuple(work.op.op for _, work in self._works if isinstance(work, HostOp))
        self._arena = self._new_arena(params)
        self._step_buffer, self._staging = device.buffer(4), device.buffer(4, reads_back=True)
        self._step_group: Any = None
        self._groups: dict[int, Any] = {}
        self._lists: dict[tuple[Step, bool], tuple[Segment, ...]] = {}
        self._last: Sequence[Call] = ()
        self._ahead: Ahead | None = None
        self._is_closed = False

    @property
    def n_bytes(self) -> int:
        """Bytes of the values of a step."""
        return int(self._arena.n_bytes + sum(buffer.size for buffer in self._low.made))

    def run(
        self, batch: Batch, outputs: Iterable[str] | None = None, overrides: Mapping[str, F32] | None = None
    ) -> dict[str, F32]:
        """Compute one step; parameters, result and errors as `runtime.backend.Program.run`.

        Raises
        ------
        DeviceError
            If the device was lost.
        """
        if self._is_closed:
            raise RealizarError("the backend of this program is closed")
        self._device.check_process()
        self._checks.check(batch)
        given = self._checks.overrides(batch, overrides or {})
        if self._arena.fit(len(batch.outputs)):
            self._forget_groups()
        self._write_step(batch)
        for name, rows in given.items():
            self._write(self._low.place(self.plan.overrides[name]), rows)
        names = tuple(self.plan.outputs if outputs is None else outputs)
        return self._run_segments(batch, names)

    def close(self) -> None:
        """Free the memory; it cannot run afterwards."""
        self._is_closed = True
        self._forget_groups()
        self._arena.close()
        self._inputs.close()
        for buffer in (self._step_buffer, self._staging, *self._low.made):
            buffer.destroy()
        self._low.made.clear()

    # ---- compiling

    def _lowered(self, index: int, op: Node, storage: WgpuStorage) -> tuple[Node, Sequence[Work] | HostOp]:
        if op.spec.is_override:
            return op, ()
        self._low.index = index
        made = LOWERED[op.op](op, self._low) if op.op in LOWERED and op.plugin_op is None else None
        return op, HostOp(self.plan, op, self._inputs, storage) if made is None else made

    def _new_arena(self, params: CompileParams) -> Arena:
        views, scratch = self.plan.views, self._low.scratch_life
        life: dict[Hashable, tuple[int, int]] = dict(self.plan.lifetimes().items())
        for key, (first, last) in self._low.kept.items():
            life[key] = (min(life[key][0], first), max(life[key][1], last))
        n_floats: dict[Hashable, int] = {root: views[root].n for root in self.plan.lifetimes()}
        of_outputs: set[Hashable] = {root for root in self.plan.lifetimes() if views[root].m_rows}
        for key, span in scratch.items():
            place = self._low.places[key]
            life[key], n_floats[key] = span, place.n
            if place.m_rows:
                of_outputs.add(key)
        shared = params.shares._arena if isinstance(params.shares, WgpuProgram) else None
        return Arena(self._device, life, n_floats, of_outputs, params.n_batch, shared)

    def _forget_groups(self) -> None:
        self._groups.clear()
        self._lists.clear()
        self._last, self._ahead = (), None

    def _segments(self, batch: Batch) -> tuple[Segment, ...]:
        """Return the calls of a step of this many rows and outputs."""
        longest = int((batch.seq_past + np.diff(batch.seq_start)).max())
        longest = -(-longest // LENGTHS) * LENGTHS
        key = (
            Step(batch.n_tokens, len(batch.outputs), longest, batch.n_tokens == batch.n_seqs),
            batch.embeddings is not None,
        )
        if key not in self._lists:
            if len(self._lists) == MAX_LISTS:
                self._lists.pop(next(iter(self._lists)))
            self._lists[key] = tuple(self._make_segments(*key))
        return self._lists[key]

    def _make_segments(self, step: Step, has_embeddings: bool) -> Iterable[Segment]:
        calls: list[Call] = []
        for op, works in self._works:
            if isinstance(works, HostOp):
                yield Segment(tuple(calls), works)
                calls = []
                continue
            for work in works:
                if has_embeddings and isinstance(work, FromBatch):
                    yield Segment(tuple(calls), HostOp(self.plan, op, self._inputs, self._low.storage))
                    calls = []
                else:
                    calls += [call for made in _chosen(work, step) for call in self._calls(made, step)]
        yield Segment(tuple(calls), None)

    def _calls(self, made: Dispatch, step: Step) -> Iterable[Call]:
        y = -(-(step.m if made.m_rows else step.n) // made.per)
        z = -(-step.longest // made.split) if made.split else made.z
        if y:
            yield Call(made.kernel.pipeline._internal, self._group(made)._internal, made.x, y, z)

    def _group(self, made: Dispatch) -> Any:
        """Return the bind group of a dispatch, with the buffers that its values have now."""
        if id(made) not in self._groups:
            buffers = [self._bound(at) for at in made.buffers]
            entries = [
                {"binding": number, "resource": {"buffer": buffer, "offset": 0, "size": buffer.size}}
                for (number, _, _), buffer in zip(made.kernel.bindings, buffers, strict=True)
            ]
            self._groups[id(made)] = self._commands.bind_group(made.kernel.layout, entries)
        return self._groups[id(made)]

    def _bound(self, at: Any) -> Any:
        """Return the buffer of what a dispatch names."""
        if isinstance(at, AdapterPool):
            return at.buffer
        return self._arena.buffer(at) if isinstance(at, (int, tuple)) else at

    # ---- running

    def _write_step(self, batch: Batch) -> None:
        packed = self._step.pack(batch)
        if self._factors is not self._pool.buffer:  # it has grown
            self._factors = self._pool.buffer
            self._forget_groups()
        if packed.nbytes > self._step_buffer.size or self._step_group is None:
            self._step_buffer.destroy()
            self._step_buffer = self._device.buffer(2 * packed.nbytes)
            resource = {"buffer": self._step_buffer, "offset": 0, "size": self._step_buffer.size}
            entries = [{"binding": 0, "resource": resource}]
            self._step_group = self._commands.bind_group(step_layout(self._device), entries)
        self._commands.write(self._step_buffer, 0, packed)

    def _run_segments(self, batch: Batch, names: tuple[str, ...]) -> dict[str, F32]:
        *before, last = self._segments(batch)
        n, m = batch.n_tokens, len(batch.outputs)
        for calls, host in before:
            if host is None:
                continue
            places = [self._low.place(i) for i in host.op.inputs]
            found = self._read(calls, places, n, m)
            shaped = [x.reshape(len(x), *self.plan.shapes[i]) for x, i in zip(found, host.op.inputs, strict=True)]
            for i, y in zip(host.op.outputs, host.run(batch, shaped), strict=True):
                self._write(self._low.place(i), y)
        found = self._read(last.calls, [self._low.place(self.plan.outputs[name]) for name in names], n, m)
        shapes = [self.plan.shapes[self.plan.outputs[name]] for name in names]
        return {name: x.reshape(len(x), *shape) for name, x, shape in zip(names, found, shapes, strict=True)}

    def _read(self, calls: Sequence[Call], places: Sequence[Place], n: int, m: int) -> list[F32]:
        """Submit calls, and return the rows of these values after them: float32 [n or m, elements]."""
        copies, at = [], 0
        for place in places:
            n_bytes = 4 * place.ld * (m if place.m_rows else n)
            copies.append((place, at, n_bytes))
            at += n_bytes
        if at > self._staging.size:
            self._staging.destroy()
            self._staging = self._device.buffer(at, reads_back=True)
        moves = [Copy(self._arena.buffer(p.key), 0, self._staging, to, size) for p, to, size in copies if size]
        self._submit(calls, moves)
        raw = self._commands.read(self._staging, at) if at else np.empty(0, np.uint8)
        rows = [raw[to : to + size].view(np.float32).reshape(-1, place.ld) for place, to, size in copies]
        return [x[:, place.at : place.at + place.n] for x, place in zip(rows, places, strict=True)]

    def _submit(self, calls: Sequence[Call], moves: Sequence[Copy]) -> None:
        """Submit calls, then copies. If they repeat, as in decoding, encode them again while the device computes."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.step is self._step_group and ahead.calls is calls and ahead.moves == moves:
            self._commands.submit_encoded(ahead.encoded)
        else:
            *early, last = _submissions(calls)
            for some in early:
                self._commands.submit(self._step_group, some)
            self._commands.submit(self._step_group, last, moves)
        if calls and calls is self._last:
            encoded = self._commands.encode(self._step_group, calls, moves)
            self._ahead = Ahead(self._step_group, calls, moves, encoded)
        self._last = calls

    def _write(self, place: Place, rows: F32) -> None:
        """Write the rows of a value that is its own root."""
        if rows.size:
            self._commands.write(self._arena.buffer(place.key), 0, np.ascontiguousarray(rows, np.float32))


def _submissions(calls: Sequence[Call]) -> list[Sequence[Call]]:
    """Return the calls in parts, so that one is computed while the next is encoded, and the first begins early."""
    parts, start, n = [], 0, SUBMISSION // 2
    while len(calls) - start > n + SUBMISSION // 2:
        parts.append(calls[start : start + n])
        start, n = start + n, SUBMISSION
    return [*parts, calls[start:]]


def _chosen(work: Work, step: Step) -> Sequence[Dispatch]:
    """Return the dispatches for a step."""
    if isinstance(work, Dispatch):
        return (work,)
    if isinstance(work, ByRows):
        rows = step.m if work.m_rows else step.n
        return next((made for most, made in work.choices if rows <= most), work.choices[-1][1])
    if isinstance(work, BySplits):
        rows = step.m if work.whole.m_rows else step.n
        return work.parts if rows <= work.most and step.longest > work.split else (work.whole,)
    if isinstance(work, Decoding):
        works = (work.one_each,) if step.is_decoding else work.other
        return [made for one in works for made in _chosen(one, step)]
    return work.dispatches
