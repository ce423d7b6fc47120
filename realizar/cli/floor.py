"""The floor of a phase: the bytes that it has to read and the operations that it has to do, and their time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from realizar._kernels.plan import N_PLANES
from realizar._kernels.rows import ACT_BLOCK
from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from realizar.engine.kv_cache import KVCache
    from realizar.model import Model
    from realizar.runtime.plan import Plan


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second: 10^9 bytes read, 10^12 operations with int8 and with float32."""

    read_gb_s: float
    int8_tops: float
    f32_tops: float


@dataclass(frozen=True)
class Floor:
    """What cannot be done without.

    Attributes
    ----------
    n_bytes : float
        Read from weights and cache.
    operations, f32_operations : float
        Multiply-adds of int8 and of float32 with weights, each counted as two.
    """

    n_bytes: float
    operations: float
    f32_operations: float = 0.0

    def seconds(self, rates: Rates) -> float:
        """The longer of reading and multiplying; int8 and float32 share the ports of the vector unit."""
        multiplying = self.operations / (rates.int8_tops * 1e12) + self.f32_operations / (rates.f32_tops * 1e12)
        return max(self.n_bytes / (rates.read_gb_s * 1e9), multiplying)


def prompt_floor(
    model: Model, cache: KVCache, n_prompt: int, program: str = "decode", activations: str = "int8"
) -> Floor:
    """The floor of a prompt: every weight of the layers for every token, and all of them read once a step.

    Behind a decoder's last attention, and of the output matrix, it needs one row of results, so these do not count.
    """
    n_steps = ceil(n_prompt / cache.n_batch)
    n_bytes = model.bytes_read(min(n_prompt, cache.n_batch), program)
    int8, f32 = _weights(model, program, activations, output=program != "decode")
    return Floor(n_bytes * n_steps, 2 * n_prompt * int8, 2 * n_prompt * f32)


def step_floor(
    model: Model, cache: KVCache, n_tokens: float, batch: int, program: str = "decode", activations: str = "int8"
) -> Floor:
    """The floor of a step of `batch` sequences with `n_tokens` in the cache each: weights once, the cache of each."""
    plan = model.plan(program)
    states = 2 * 4 * sum(prod(state.shape) for state in plan.states)  # read, and written again
    kept = batch * (_kv_bytes(plan, cache, n_tokens) + states)
    int8, f32 = _weights(model, program, activations, output=True)
    return Floor(model.bytes_read(batch, program) + kept, 2 * batch * int8, 2 * batch * f32)


def _kv_bytes(plan: Plan, cache: KVCache, n_tokens: float) -> float:
    """Bytes of the K and V that one query sees."""
    total = 0.0
    for index, group in enumerate(plan.cache_groups):
        total += min(n_tokens, group.window or n_tokens) * cache.storage.block_bytes(index) / BLOCK
    return total


def _weights(model: Model, program: str, activations: str, output: bool) -> tuple[float, float]:
    """Weights that a token is multiplied with as int8 and as float32; after the choice of rows they are the output's.

    Formats of floats meet float32, as all formats do where activations are not rounded. int16 counts twice.
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
