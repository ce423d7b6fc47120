"""A model whose logits depend on every token that it reads through the block tables, and on nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np

from realizar import tiny_model
from realizar.backends.cpu.backend import CPUBackend
from realizar.engine.cache.kv_cache import KVCache
from realizar.graph import RopeScaling
from realizar.params import EngineParams
from realizar.runtime.batch import BLOCK, Batch

N_VOCAB = 32
N_EMBD = 3
EOG = 0


@dataclass(frozen=True)
class FakeLayer:
    layer: int
    n_head_kv: int = 2
    head_dim_k: int = 3
    head_dim_v: int = 5

    @property
    def key(self) -> str:
        return f"blk.{self.layer}.kv"


@dataclass(frozen=True)
class FakeGroup:
    window: int
    layers: list[FakeLayer]
    kind: str = "full"


@dataclass(frozen=True)
class FakeState:
    layer: int
    shape: tuple[int, ...] = (2,)

    @property
    def key(self) -> str:
        return f"blk.{self.layer}.state"


@dataclass(frozen=True)
class FakePlan:
    cache_groups: list[FakeGroup]
    states: list[FakeState] = field(default_factory=list)


FULL = FakePlan([FakeGroup(0, [FakeLayer(0), FakeLayer(1)])])
WINDOWS = FakePlan([FakeGroup(0, [FakeLayer(0)]), FakeGroup(5, [FakeLayer(1)]), FakeGroup(40, [FakeLayer(2)])])
STATEFUL = FakePlan([FakeGroup(0, [FakeLayer(0)])], [FakeState(1), FakeState(2, (1, 3))])
RECURRENT = FakePlan([], [FakeState(0)])
PLANS = {"full": FULL, "windows": WINDOWS, "stateful": STATEFUL, "recurrent": RECURRENT}


def logits_of(seen: list[list[int]], states: list[float]) -> np.ndarray:
    """Logits float32 [N_VOCAB] from the tokens seen in each group and the states."""
    digest = hashlib.shake_128(repr((seen, states)).encode()).digest(N_VOCAB)
    return np.frombuffer(digest, np.uint8).astype(np.float32) / 8


def next_state(state: float, token: int) -> float:
    return (31 * state + token + 1) % 8191


def visible(at: int, window: int, span: tuple[int, int] | None) -> list[int]:
    """Rows that a row sees: those before it, or of them the window, and the span that it is in."""
    rows = {*range(max(0, at - window + 1) if window else 0, at + 1), *(range(*span) if span else ())}
    return sorted(rows)


def expected(plan: FakePlan, tokens: list[int], span: tuple[int, int] | None = None, at: int = -1) -> np.ndarray:
    """The logits after row `at`, by default the last one, worked out without a cache.

    Rows that are embeddings are given as the `symbol` of them.
    """
    at %= len(tokens)
    seen = [[int(tokens[row]) for row in visible(at, group.window, span)] for group in plan.cache_groups]
    state = 0.0
    if plan.states:
        for token in tokens[: at + 1]:
            state = next_state(state, int(token))
    return logits_of(seen, [state] * len(plan.states))


def symbol(embedding: np.ndarray) -> int:
    """What stands for an embedding among token ids."""
    return 1000 + int(embedding[0])


def continuation(plan: FakePlan, prompt: list[int], n: int, n_ctx: int) -> list[int]:
    """What greedy decoding gives alone: at most n tokens, ended by EOG or the context."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + n and len(tokens) <= n_ctx:
        tokens.append(int(expected(plan, tokens).argmax()))
        if tokens[-1] == EOG:
            break
    return tokens[len(prompt) :]


def _floats(blocks: np.ndarray, head_dim: int) -> type[np.floating]:
    """Type of the elements of a cache of float16 or float32."""
    return {2: np.float16, 4: np.float32}[blocks.shape[-1] // (head_dim * BLOCK)]


def embeddings_of(batch: Batch) -> list[tuple[int, np.ndarray]]:
    """The rows of a batch that enter as embeddings."""
    if batch.embeddings is None or batch.embedding_rows is None:
        return []
    return list(zip(batch.embedding_rows.tolist(), batch.embeddings, strict=True))


class FakeProgram:
    """Stores token + 1 in every element of K and the number of its row in V, and reads them back."""

    n_bytes = 7 << 20

    def __init__(self, plan: FakePlan, kv, states) -> None:
        self.plan = plan
        self.kv = kv
        self.states = states
        self.steps: list[Batch] = []
        self.fail: Exception | None = None
        self.fail_late: Exception | None = None

    def run(self, batch: Batch, outputs: object = None) -> dict[str, np.ndarray]:
        if self.fail is not None:
            raise self.fail
        batch.check()
        self.steps.append(batch)
        wanted = set(batch.outputs.tolist())
        rows = []
        self.symbols = batch.tokens.tolist()
        for row, embedding in embeddings_of(batch):
            self.symbols[row] = symbol(embedding)
        for s in range(batch.n_seqs):
            self._store(batch, s)
        for s in range(batch.n_seqs):
            for row in range(batch.seq_start[s], batch.seq_start[s + 1]):
                states = self._advance(batch, s, row)
                if row in wanted:
                    rows.append(logits_of(self._seen(batch, s, row), states))
        if self.fail_late is not None:
            raise self.fail_late
        return {"logits": np.array(rows, np.float32).reshape(len(wanted), N_VOCAB)}

    def _layers(self):
        for group, spec in enumerate(self.plan.cache_groups):
            for at in spec.layers:
                k, v = self.kv[at.key]
                k, v = k.view(_floats(k, at.head_dim_k)), v.view(_floats(v, at.head_dim_v))
                yield group, spec, k.reshape(*k.shape[:2], -1, BLOCK), v.reshape(*v.shape[:2], BLOCK, -1)

    def _store(self, batch: Batch, s: int) -> None:
        for row in range(batch.seq_start[s], batch.seq_start[s + 1]):
            at = row - batch.seq_start[s] + batch.seq_past[s]
            for group, _, k, v in self._layers():
                block = batch.block_tables[group][s, at // BLOCK]
                k[block, :, :, at % BLOCK] = self.symbols[row] + 1
                v[block, :, at % BLOCK, :] = at

    def _seen(self, batch: Batch, s: int, row: int) -> list[list[int]]:
        """Tokens per group, one list per layer checked to be the same."""
        first = batch.seq_start[s] - batch.seq_past[s]
        spans = [] if batch.spans is None else batch.spans.tolist()
        span = next(((a - first, b - first) for a, b in spans if a <= row < b), None)
        seen: dict[int, list[int]] = {}
        for group, spec, k, v in self._layers():
            keys = np.array(visible(row - first, spec.window, span))
            blocks = batch.block_tables[group][s, keys // BLOCK]
            found = k[blocks, :, :, keys % BLOCK]
            assert (found == found[:, :1, :1]).all()
            assert (v[blocks, :, keys % BLOCK, :] == keys[:, None, None]).all()
            tokens = (found[:, 0, 0] - 1).astype(int).tolist()
            assert seen.setdefault(group, tokens) == tokens
        return list(seen.values())

    def _advance(self, batch: Batch, s: int, row: int) -> list[float]:
        runs, states = batch.state_runs(s), []
        first, slot = next((first, slot) for first, end, slot in runs if first <= row < end)
        for spec in self.plan.states:
            data = self.states[spec.key]
            if row == batch.seq_start[s] and batch.seq_past[s] == 0:
                data[slot] = 0
            elif row == first and slot != batch.state_slots[s]:
                data[slot] = data[batch.state_slots[s]]
            data[slot] = next_state(float(data[slot].flat[0]), self.symbols[row])
            states.append(float(data[slot].flat[0]))
        return states


class FakeTokenizer:
    """Token i is the letter chr(96 + i); 0 ends a text."""

    n_vocab = N_VOCAB
    bos_id, eos_id, eot_id, eog_ids = 1, EOG, EOG, frozenset([EOG])
    suppressed_ids = ids_before = ids_after = ()
    chat_template = None

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        return [ord(c) - 96 for c in text]

    def decode(self, ids: list[int], skip_special: bool = True) -> str:
        return "".join(chr(96 + i) for i in ids if i != EOG)

    def is_hidden(self, token: int) -> bool:
        return token == EOG

    def token_bytes(self, token: int) -> bytes:
        return chr(96 + token).encode()

    def stream(
        self, after: int | None = None, n_healed: int = 0, visible_ids: frozenset[int] = frozenset()
    ) -> FakeStream:
        return FakeStream()


class Letters(FakeTokenizer):
    """A tokenizer of as many tokens as a tiny model has: the first are letters, the others as well."""

    n_vocab = tiny_model.N_VOCAB
    tokens = tuple(f"t{i}" for i in range(tiny_model.N_VOCAB))

    def token_bytes(self, token: int) -> bytes:
        return chr(97 + token % 26).encode()


class FakeStream:
    def fork(self) -> FakeStream:
        return self

    def push(self, token: int) -> str:
        return chr(96 + token)

    def flush(self) -> str:
        return ""


class FakeModel:
    """What an engine needs of a Model."""

    def __init__(self, plan: FakePlan = FULL, n_ctx: int = 256) -> None:
        self._plan = plan
        sizes = {"n_vocab": N_VOCAB, "n_layer": 1, "n_ctx_train": n_ctx, "n_embd": N_EMBD, "n_deepstack": 0}
        self.hp = SimpleNamespace(**sizes, rope_scaling=RopeScaling())
        self.tokenizer = FakeTokenizer()
        self.file = SimpleNamespace(metadata={}, path=Path("fake.gguf"))
        self.closed = False

    def plan(
        self, program: str | None = None, outputs: tuple[str, ...] | None = None, overrides=(), passes=(), side=None
    ):
        assert (program, outputs, overrides, side) in (("decode", None, (), None), (None, None, (), None))
        return self._plan

    main = "decode"
    default_activations = "int8"
    has_encoder = False
    architecture = SimpleNamespace(name="fake")
    graphs = MappingProxyType({
        "decode": SimpleNamespace(outputs={"logits": 0}, inputs=("tokens", "embeddings", "positions"), n_axes=3,
                                  nodes=[SimpleNamespace(spec=SimpleNamespace(attends=True))])
    })  # fmt: skip

    def bind(self, plan: FakePlan, backend, storage, params) -> FakeProgram:
        assert backend.n_threads == 2
        kv = {at.key: (at.k, at.v) for at in storage.layers}
        states = {at.key: at.data for at in storage.states}
        self.program = FakeProgram(plan, kv, states)
        return self.program

    def close(self) -> None:
        self.closed = True


def fake_cache(plan: FakePlan, **params) -> KVCache:
    defaults = {"n_ctx": 128, "n_seqs": 4, "n_batch": 32, "kv_type": "f32"}
    return KVCache(plan.cache_groups, plan.states, EngineParams(**{**defaults, **params}), CPUBackend(2))


def check_cache(cache: KVCache, sequences) -> None:
    """Every block is held by exactly the tables that name it; every free one is in the queue once; names are true."""
    for group, pool in enumerate(cache.pools):
        held = [block for seq in sequences for block in seq.tables[group] if block >= 0]
        for seq in sequences:
            own = [block for block in seq.tables[group] if block >= 0]
            assert len(own) == len(set(own)), "a block twice in one table"
        counts = [held.count(block) for block in range(pool.n_blocks)]
        n_used = len(pool._ref_counts)
        assert counts == [*pool._ref_counts, *[0] * (pool.n_blocks - n_used)]
        assert pool.n_free == counts.count(0)
        assert sorted(pool._free) == [block for block, n in enumerate(counts[:n_used]) if n == 0]
        assert all(pool._key[block] == name for name, block in pool._block_of.items())
        assert pool.n_cached == sum(name is not None for name in pool._key)
    slots = [slot for seq in sequences for slot in (seq.slot, seq.draft_slot) if slot is not None]
    n_slots = cache.n_slots
    assert sorted(slots + cache._free_slots) == list(range(n_slots))
    kept = [*cache.snapshots._free, *cache.snapshots._slot_of.values()]
    states = cache.storage.states  # none once the backend is closed
    assert sorted(kept) == list(range(n_slots, cache.storage.n_slots if states else n_slots + len(kept)))
