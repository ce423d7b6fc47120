"""Session: runs plans without an engine, for tests of architectures and backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.backends.cpu.backend import CPUBackend
from realizar.model import Model
from realizar.params import Activations
from realizar.runtime.backend import Backend, CompileParams, Storage, StorageParams
from realizar.runtime.batch import BLOCK, Batch
from realizar.runtime.plan import Plan
from realizar.tiny_model import N_VOCAB

F32 = npt.NDArray[np.float32]

N_TOKENS = 45  # of a test prompt: a few cache blocks, the last one partly filled
N_CTX = 128  # of a test session
N_ENCODER = 37  # tokens of an encoder input


class Session:
    """A compiled plan with its own small KV cache, for tests: a few sequences, with blocks allocated in shuffled order.

    `backend` compiles it, by default the CPU's with `n_threads` and `isa`. If the plan has
    cross-attention, the program "encode" has run on an encoder input for each sequence.

    Attributes
    ----------
    inputs : dict of float32 [N_VOCAB, *shape]
        Name of an input (`Graph.input`) or override of the plan -> its row for each token, if a step gives none.
    encoder_kv : dict
        Cache of kind "cross" -> K and V that "encode" stored for sequence 0, float32 [n, n_head_kv, head_dim].
    """

    def __init__(
        self, model: Model, plan: Plan, *, activations: Activations = "int8", kv_type: str | tuple[str, str] = "f16",
        isa: str | None = None, n_threads: int = 1, n_seqs: int = 4, n_ctx: int = N_CTX,
        backend: Backend | None = None,
    ) -> None:  # fmt: skip
        n_blocks = n_seqs * n_ctx // BLOCK
        order = np.random.default_rng(1).permutation(n_blocks).astype(np.int32)
        self._tables = np.ascontiguousarray(order.reshape(n_seqs, -1))
        self.n_groups = len(plan.cache_groups)
        backend = backend or CPUBackend(n_threads, isa)
        room = StorageParams((n_blocks,) * self.n_groups, n_seqs, kv_type)
        self.storage = backend.storage(plan.cache_groups, plan.states, room)
        params = CompileParams(n_ctx * n_seqs, n_ctx, activations)
        self.compiled = model.bind(plan, backend, self.storage, params)
        rng = np.random.default_rng(5)
        self.inputs = {
            name: rng.standard_normal((N_VOCAB, *plan.shapes[i]), np.float32) for name, i in plan.overrides.items()
        }
        self.reads_encoder = "encoder" in plan.inputs
        self._encoder = _Encoder(model, backend, self.storage, params) if self.reads_encoder else None
        self.clear()

    def clear(self) -> None:
        """Forget all sequences; their blocks and states hold NaN from now on, which must not matter."""
        self.tables = self._tables.copy()
        for group in range(self.n_groups):
            blocks = range(self._tables.size)
            saved = self.storage.save_blocks(group, blocks)
            self.storage.load_blocks(group, blocks, {name: _full_of_nan(array) for name, array in saved.items()})
        for slot in range(len(self._tables)):
            self.storage.load_slot(slot, {k: _full_of_nan(x) for k, x in self.storage.save_slot(slot).items()})
        self.encoder_kv: dict[str, tuple[F32, F32]] = {}
        if self._encoder is not None:
            self.encoder_kv = self._encoder.run(self.batch([(s, 0, encoder_input(s)) for s in range(len(self.tables))]))

    def step(
        self, parts: Sequence[tuple[int, int, Sequence[int]]], overrides: Mapping[str, F32] | None = None, **fields: Any
    ) -> dict[str, F32]:
        """Run (sequence, number of cached tokens, new tokens) parts in one step; return copies of all outputs.

        `overrides` are the plan's overrides for all rows, by default random ones for each token; `fields` set fields of
        Batch.
        """
        batch = replace(self.batch(parts), **fields)
        batch.check()
        if overrides is None:
            overrides = {name: rows[batch.tokens] for name, rows in self.inputs.items()}
        return {name: value.copy() for name, value in self.compiled.run(batch, overrides=overrides).items()}

    def batch(self, parts: Sequence[tuple[int, int, Sequence[int]]]) -> Batch:
        """Return the Batch of these parts, with outputs for every row."""
        start = np.cumsum([0, *(len(tokens) for _, _, tokens in parts)]).astype(np.int32)
        positions = np.concatenate([np.arange(past, past + len(tokens)) for _, past, tokens in parts])
        rows = np.array([s for s, _, _ in parts], dtype=np.int32)
        return Batch(
            tokens=np.concatenate([np.asarray(tokens, dtype=np.int32) for _, _, tokens in parts]),
            positions=positions.astype(np.int32)[None, :],
            seq_start=start,
            seq_past=np.array([past for _, past, _ in parts], dtype=np.int32),
            block_tables=tuple(np.ascontiguousarray(self.tables[rows]) for _ in range(self.n_groups)),
            state_slots=rows,
            outputs=np.arange(start[-1], dtype=np.int32),
            encoder_lengths=np.full(len(parts), N_ENCODER, np.int32) if self.reads_encoder else None,
        )

    def prompt(self, tokens: Sequence[int], chunk: int, sequence: int = 0, past: int = 0) -> dict[str, F32]:
        """Run a prompt in steps of `chunk` tokens."""
        steps = [
            self.step([(sequence, past + i, tokens[i : i + chunk])]) for i in range(0, len(tokens), chunk)
        ]  # fmt: skip
        return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}

    def continue_from(
        self, source: int, target: int, n: int, prefix: Mapping[str, F32], tokens: Sequence[int]
    ) -> dict[str, F32]:
        """Let sequence `target` share the blocks of the n tokens that `source` has just computed, and continue."""
        self.tables[target, : n // BLOCK] = self.tables[source, : n // BLOCK]
        self.storage.copy_slot(source, target)
        rest = self.prompt(tokens[n:], N_TOKENS, sequence=target, past=n)
        return {name: np.concatenate([prefix[name], rest[name]]) for name in rest}


class _Encoder:
    """The program "encode", which stores the K and V of encoder inputs in the caches of a session."""

    def __init__(self, model: Model, backend: Backend, storage: Storage, params: CompileParams) -> None:
        graph = model.graphs["encode"]
        stores = [node for node in graph.nodes if node.spec.writes_cache and not node.outputs]
        self._stored = {node.attrs["cache"]: [graph.values[i].name for i in node.inputs] for node in stores}
        plan = model.plan("encode", [name for names in self._stored.values() for name in names])
        self._compiled = model.bind(plan, backend, storage, params)

    def run(self, batch: Batch) -> dict[str, tuple[F32, F32]]:
        """Run encoder inputs of N_ENCODER tokens; return the K and V of the first, by the cache that holds them."""
        found = self._compiled.run(batch)
        return {
            cache: (found[k][:N_ENCODER].copy(), found[v][:N_ENCODER].copy()) for cache, (k, v) in self._stored.items()
        }


def _full_of_nan(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of this shape and type in which every number is NaN, also those whose bytes it has."""
    if array.dtype.kind == "f":
        return np.full_like(array, np.nan)
    return np.full_like(array, np.iinfo(array.dtype).max)


def random_tokens(n: int = N_TOKENS, seed: int = 0) -> list[int]:
    """Return the token ids of a random prompt."""
    return [int(t) for t in np.random.default_rng(seed).integers(0, N_VOCAB, n)]


def encoder_input(sequence: int) -> list[int]:
    """Return the encoder input of a sequence of a session; sequences 0 and 3 have the same."""
    return random_tokens(N_ENCODER, seed=2 + sequence % 3)
