"""DraftModel: draft tokens of a smaller model with the same vocabulary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.kv_cache import KVCache
from realizar.engine.cache.sequence import Sequence
from realizar.engine.runner import Runner
from realizar.engine.speculation.stepwise import LEAST_CHANCE, StepwiseDrafter, StepwiseSpeculator

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.generation import Answer
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend


class ModelDrafter(StepwiseDrafter):
    """The draft model's sequence of one answer, and its draft tokens.

    Attributes
    ----------
    seq : Sequence | None
        The answer's tokens as the draft model has computed them; None before the first draft. Draft tokens are appended
        to it, or, if the draft model has recurrent states, which cannot be rolled back, to a fork of it.
    """

    def __init__(self, model: DraftModel) -> None:
        super().__init__()
        self.seq: Sequence | None = None
        self._model = model
        self._trunk: Sequence | None = None

    def follow(self, answer: Answer) -> Sequence | None:
        """Make the sequence equal to the answer's, with its last token uncomputed; None if there is no room for it."""
        self.end_fork()
        text = answer.seq.tokens
        if self.seq is None:
            self.seq = self._model.new_sequence(text, len(text) + answer.n_left - 1)
        else:
            known = self.seq.tokens[: len(text) - 1]
            others = np.flatnonzero(known != text[: len(known)])
            n = int(others[0]) if len(others) else len(known)
            self.seq.truncate(n)
            for token in text[n:].tolist():
                self.seq.append(token)
        return self.seq

    def append(self, token: int) -> None:
        """Append a draft token to the sequence, all of which is computed."""
        if self.seq is not None:
            if self.seq.cache.states and self._trunk is None:
                self._trunk, self.seq = self.seq, self.seq.fork()
            self.seq.append(token)

    def end_fork(self) -> None:
        """Free the fork with draft tokens, and return to the sequence of the answer."""
        if self._trunk is not None and self.seq is not None:
            self.seq.free()
            self.seq, self._trunk = self._trunk, None

    def free(self) -> None:
        """Free the sequence and the blocks reserved for it."""
        self.end_fork()
        if self.seq is not None:
            self._model.free(self.seq)
            self.seq = None


class DraftModel(StepwiseSpeculator):
    """Proposes the most probable tokens of a smaller model, which processes the same sequences.

    Parameters
    ----------
    model : Model
        The smaller one; it is closed with this.
    params : EngineParams
        Of the engine; its n_ctx must be given.
    backend : Backend
        Computes a step.
    n_vocab : int
        Tokens that the large model has.
    """

    def __init__(self, model: Model, params: EngineParams, backend: Backend, n_vocab: int) -> None:
        super().__init__(params.n_draft, params.n_batch, min(n_vocab, model.hp.n_vocab))
        self.model = model
        plan = model.plan()
        self.cache = KVCache(plan.cache_groups, plan.states, params, backend, has_drafts=True)
        self.runner = Runner(model, self.cache, params, backend)
        self._room = [pool.n_blocks for pool in self.cache.pools]
        self._kept: dict[Sequence, list[int]] = {}

    def drafter(self, answer: Answer) -> ModelDrafter:
        """Return one for a new text."""
        return ModelDrafter(self)

    def close(self) -> None:
        """Close the model."""
        self.model.close()

    def forget_programs(self) -> None:
        """Drop the compiled program; it is compiled again when next needed."""
        self.runner.forget_programs()

    def new_sequence(self, tokens: npt.NDArray[np.int32], n_max: int) -> Sequence | None:
        """Return a sequence for a text that may get n_max tokens, or None if all of it would not fit beside others."""
        needed = self.cache.blocks_needed(n_max)
        if self.cache.states:  # a fork of it has a copy of its last block, and a slot
            needed = [n + 1 for n in needed]
            if len(self._kept) == self.cache.max_seqs:
                return None
        room = [r - n for r, n in zip(self._room, needed, strict=True)]
        if min(room, default=0) < 0:
            return None
        seq = Sequence(self.cache, tokens)
        seq.match_prefix()
        self._room, self._kept[seq] = room, needed
        return seq

    def free(self, seq: Sequence) -> None:
        """Give back a sequence."""
        seq.free()
        self._room = [r + n for r, n in zip(self._room, self._kept.pop(seq), strict=True)]

    def _propose(self, pairs: Seq[tuple[Answer, int]]) -> None:
        live = [
            (drafter, most)
            for answer, most in pairs
            if isinstance(drafter := answer.drafter, ModelDrafter) and drafter.follow(answer)
        ]
        while live:
            live = [(drafter, most) for drafter, most in self._step(live) if len(drafter.tokens) < most]

    def _step(self, live: Seq[tuple[ModelDrafter, int]]) -> list[tuple[ModelDrafter, int]]:
        """Compute what the sequences lack, as far as a step goes; return those that go on from a new guess."""
        budget, chunks = self.cache.n_batch, []
        for drafter, most in live:
            seq = drafter.seq
            if seq is not None and budget:
                n = seq.cut(min(seq.n_left, budget))
                budget -= n
                chunks.append((drafter, most, Chunk(seq, n, int(n == seq.n_left))))
        if not chunks:
            return []
        for _, _, chunk in chunks:
            chunk.reserve()
        begin = time.perf_counter()
        batch = self.runner.batch([chunk for _, _, chunk in chunks])
        try:
            rows = iter(self.runner.run(batch)["logits"].values)
        except BaseException:
            for _, _, chunk in chunks:
                if chunk.seq.slot is not None:
                    chunk.seq.free()  # its state may have been advanced
            raise
        if batch.n_tokens == len(batch.outputs):
            self._own_cost.learn(batch.n_tokens, time.perf_counter() - begin)
        for _, _, chunk in chunks:
            chunk.commit()
        with_row = [(drafter, most, next(rows)) for drafter, most, chunk in chunks if chunk.n_outputs]
        return [(drafter, most) for drafter, most, row in with_row if self._goes_on(drafter, row)]

    def _goes_on(self, drafter: ModelDrafter, logits: npt.NDArray[np.float32]) -> bool:
        """Add the most probable token as a draft; return whether a further one is worth it."""
        if drafter.seq is None or drafter.seq.is_full or (best := self._best(logits)) is None:
            return False
        drafter.append(best[0])
        return drafter.add(*best) >= LEAST_CHANCE
