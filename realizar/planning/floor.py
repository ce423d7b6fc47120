"""The floor (roofline lower bound) of a phase: the bytes it must read, the operations it must do, and their time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Protocol

from realizar._kernels.plan import N_PLANES
from realizar._kernels.rows import ACT_BLOCK
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from realizar.model import Model
    from realizar.runtime.backend import Storage
    from realizar.runtime.plan import Plan


class Cache(Protocol):
    """What a floor needs of a KV cache: the rows of a step at most, and the storage."""

    n_batch: int
    storage: Storage


@dataclass(frozen=True)
class Rates:
    """The machine's measured limits per second: 10^9 bytes read, 10^12 int8 and float32 operations."""

    read_gb_s: float
    int8_tops: float
    f32_tops: float


@dataclass(frozen=True)
class Floor:
    """The minimum work of a phase.

    Attributes
    ----------
    n_bytes : float
        Bytes read from weights and KV cache.
    operations, f32_operations : float
        int8 and float32 operations with weights; a multiply-add counts as two.
    """

    n_bytes: float
    operations: float
    f32_operations: float = 0.0

    def seconds(self, rates: Rates) -> float:
        """Return the larger of read time and compute time; int8 and float32 times add up (same vector units)."""
        computing = self.operations / (rates.int8_tops * 1e12) + self.f32_operations / (rates.f32_tops * 1e12)
        return max(self.n_bytes / (rates.read_gb_s * 1e9), computing)


def prompt_floor(
    model: Model, cache: Cache, n_prompt: int, program: str = "decode", activations: str = "int8"
) -> Floor:
    """Return the floor of prefill: all layer weights are multiplied for every token, and read once per step.

    Ops after a decoder's last attention, including the output matrix, are needed for one row only and do not count.
    """
    n_steps = ceil(n_prompt / cache.n_batch)
    n_bytes = model.bytes_read(min(n_prompt, cache.n_batch), program)
    int8, f32 = _weights(model, program, activations, output=program != "decode")
    return Floor(n_bytes * n_steps, 2 * n_prompt * int8, 2 * n_prompt * f32)


def step_floor(
    model: Model, cache: Cache, n_tokens: float, batch: int, program: str = "decode", activations: str = "int8"
) -> Floor:
    """Return the floor of a decode step of `batch` sequences with `n_tokens` each in the KV cache."""
    plan = model.plan(program)
    states = 2 * 4 * sum(prod(state.shape) for state in plan.states)  # read and written
    cache_bytes = batch * (_kv_bytes(plan, cache, n_tokens) + states)
    int8, f32 = _weights(model, program, activations, output=True)
    return Floor(model.bytes_read(batch, program) + cache_bytes, 2 * batch * int8, 2 * batch * f32)


def _kv_bytes(plan: Plan, cache: Cache, n_tokens: float) -> float:
    """Return the bytes of K and V that one query attends to."""
    total = 0.0
    for index, group in enumerate(plan.cache_groups):
        total += min(n_tokens, group.window or n_tokens) * cache.storage.block_bytes(index) / BLOCK
    return total


def _weights(model: Model, program: str, activations: str, output: bool) -> tuple[float, float]:
    """Return the number of weights multiplied per token in int8 and in float32.

    Without `output`, ops after the row pruning (those of the output rows) are excluded. Float formats are multiplied in
    float32, and so are all formats if activations are not quantized. int16 activations count twice.
    """
    plan = model.plan(program)
    int8 = f32 = 0.0
    for op in plan.ops:
        if not output and op.inputs and plan.views[op.inputs[0]].m_rows:
            continue
        for name, use in model.uses(plan, op):
            if activations != "f32" and ACT_BLOCK[model.tensors[name].type] and use.operand != "float":
                int8 += N_PLANES[activations] * use.multiply_adds
            else:
                f32 += use.multiply_adds
    return int8, f32
