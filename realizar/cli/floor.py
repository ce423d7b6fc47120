"""The floor of a phase: the bytes that it has to read and the int8 operations that it has to do, and their time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from realizar.runtime.batch import BLOCK

if TYPE_CHECKING:
    from realizar.engine.kv_cache import KVCache
    from realizar.model import Model
    from realizar.runtime.plan import Plan


@dataclass(frozen=True)
class Floor:
    """What cannot be done without.

    Attributes
    ----------
    n_bytes : float
        Read from weights and cache.
    operations : float
        Multiply-adds with weights, each counted as two.
    """

    n_bytes: float
    operations: float

    def seconds(self, read_gb_s: float, int8_tops: float) -> float:
        """What it takes on a machine that reads 10^9 bytes and does 10^12 int8 operations a second, so many of them."""
        return max(self.n_bytes / (read_gb_s * 1e9), self.operations / (int8_tops * 1e12))


def prompt_floor(model: Model, cache: KVCache, n_prompt: int, program: str = "decode") -> Floor:
    """The floor of a prompt: every weight of the layers for every token, and all of them read once a step.

    Behind a decoder's last attention, and of the output matrix, it needs one row of results, so these do not count.
    """
    n_steps = ceil(n_prompt / cache.n_batch)
    n_bytes = model.bytes_read(min(n_prompt, cache.n_batch), program)
    return Floor(n_bytes * n_steps, 2 * n_prompt * _weights(model, program, output=program != "decode"))


def step_floor(model: Model, cache: KVCache, n_tokens: float, batch: int, program: str = "decode") -> Floor:
    """The floor of a step of `batch` sequences with `n_tokens` in the cache each: weights once, the cache of each."""
    plan = model.plan(program)
    states = 2 * 4 * sum(prod(state.shape) for state in plan.states)  # read, and written again
    kept = batch * (_kv_bytes(plan, cache, n_tokens) + states)
    return Floor(model.bytes_read(batch, program) + kept, 2 * batch * _weights(model, program, output=True))


def _kv_bytes(plan: Plan, cache: KVCache, n_tokens: float) -> float:
    """Bytes of the K and V that one query sees."""
    arrays = {at.key: at for at in cache.layers}
    total = 0.0
    for group in plan.cache_groups:
        seen = min(n_tokens, group.window or n_tokens)
        for layer in group.layers:
            at = arrays[layer.key]
            total += seen * at.n_bytes / (len(at.k) * BLOCK)
    return total


def _weights(model: Model, program: str, output: bool) -> float:
    """Weights that a token is multiplied with; those behind the choice of rows are the output's."""
    plan = model.plan(program)
    total = 0.0
    for op in plan.ops:
        if not output and op.inputs and plan.views[op.inputs[0]].m_rows:
            continue
        if op.op in ("linear", "experts"):
            total += model.share_used(plan, op) * sum(prod(model.tensors[name].shape) for name in op.weights)
        elif op.op == "linear_heads":  # some rows of each head's matrix
            total += prod(plan.shapes[op.outputs[0]]) * plan.shapes[op.inputs[0]][1]
    return total
