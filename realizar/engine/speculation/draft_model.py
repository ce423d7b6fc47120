"""DraftModel: guesses of a smaller model with the same vocabulary."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from realizar._kernels.sampling import Candidates
from realizar.engine.cache.chunk import Chunk
from realizar.engine.cache.kv_cache import KVCache
from realizar.engine.cache.sequence import Sequence
from realizar.engine.runner import Runner
from realizar.engine.speculation.speculator import (
    LEAST_GAIN,
    MAX_ROWS,
    NO_GUESS,
    Guess,
    HitRate,
    Speculator,
    StepCost,
)

if TYPE_CHECKING:
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.generation import Answer
    from realizar.engine.speculation.speculator import Drafter
    from realizar.model import Model
    from realizar.params import EngineParams
    from realizar.runtime.backend import Backend

LEAST_CHANCE = 0.3
"""A guess that is less probable than this, with those in front of it, is the last one about its text."""
LONGEST_PAUSE = 1024
"""Steps without a guess at most, while guesses do not pay: then two are made, to see whether they do now."""
# How sure the draft model is of its best token: one kind of guess each, and how often to believe it at first.
_BOUNDS, _FIRST_RATES = (0.3, 0.5, 0.7, 0.85, 0.95), (0.2, 0.4, 0.6, 0.75, 0.9, 0.95)


class ModelDrafter:
    """What the draft model has read of one text, and how good its guesses about it were.

    Attributes
    ----------
    seq : Sequence | None
        The text as the draft model has computed it, with its own drafts appended; None until the first one.
    tokens, chances : list
        The guess so far.
    rate : float
        Share of the drafts that were right.
    """

    def __init__(self, model: DraftModel) -> None:
        self.seq: Sequence | None = None
        self.tokens: list[int] = []
        self.chances: list[float] = []
        self._model = model
        self._kinds: list[int] = []
        self._rates = HitRate(_FIRST_RATES)
        self._all = HitRate((0.7,))

    @property
    def rate(self) -> float:
        """Share of the drafts that were right."""
        return self._all.rates[0]

    def follow(self, answer: Answer) -> Sequence | None:
        """Let the sequence be the text again, its last token still to be computed; None if there is no room for it."""
        self.tokens, self.chances, self._kinds = [], [], []
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

    def add(self, token: int, sureness: float) -> float:
        """Add a guess, and return how probable it is that the text follows up to it."""
        kind = int(np.searchsorted(_BOUNDS, sureness))
        chance = self._rates.rates[kind] * (self.chances[-1] if self.chances else 1.0)
        self.tokens.append(token)
        self.chances.append(chance)
        self._kinds.append(kind)
        return chance

    def learn(self, taken: Seq[int]) -> None:
        """Count how far the text followed the guess."""
        for i, (token, guessed) in enumerate(zip(taken, self.tokens, strict=False)):
            self._rates.learn(self._kinds[i], token == guessed)
            self._all.learn(0, token == guessed)
        self.tokens = []

    def free(self) -> None:
        """Give back the sequence and the room that was kept for it."""
        if self.seq is not None:
            self._model.free(self.seq)
            self.seq = None


class DraftModel(Speculator):
    """Guesses the best tokens of a smaller model, which reads every text that the large one reads.

    How many it makes is decided before each step, for all texts the same number: as many as promise the most tokens
    per second by how often they were right and what steps of both models were measured to take.

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
        super().__init__(params.n_draft, params.n_batch)
        self.model = model
        plan = model.plan()
        self.cache = KVCache(plan.cache_groups, plan.states, params, backend)
        self.runner = Runner(model, self.cache, params, backend)
        self._n_vocab = min(n_vocab, model.hp.n_vocab)
        self._candidates = Candidates(self._n_vocab)
        self._own_cost = StepCost(min(params.n_batch, MAX_ROWS))
        self._room = [pool.n_blocks for pool in self.cache.pools]
        self._kept: dict[Sequence, list[int]] = {}
        self._wait = 0
        self._pause = 1

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

    def guesses(self, answers: Seq[Answer]) -> list[Guess]:
        """Return those of every text."""
        drafters = [answer.drafter for answer in answers]
        n = self._n_steps([drafter for drafter in drafters if isinstance(drafter, ModelDrafter)])
        live = [
            (drafter, most)
            for answer, drafter in zip(answers, drafters, strict=True)
            if (most := min(n, self.n_draft(answer))) and isinstance(drafter, ModelDrafter) and drafter.follow(answer)
        ]
        while live:
            live = [(drafter, most) for drafter, most in self._step(live) if len(drafter.tokens) < most]
        return [self._guess(drafter) for drafter in drafters]

    @staticmethod
    def _guess(drafter: Drafter | None) -> Guess:
        if not isinstance(drafter, ModelDrafter):
            return NO_GUESS
        return Guess(np.array(drafter.tokens, np.int32), drafter.chances)

    def _n_steps(self, drafters: Seq[ModelDrafter]) -> int:
        """Return how many guesses to make about each text: none where they do not pay, but a few now and then."""
        n_texts = len(drafters)
        rates = np.array([drafter.rate for drafter in drafters])
        n_max = min(self._n_draft, (min(self._n_batch, MAX_ROWS) - n_texts) // max(n_texts, 1))
        if n_max < 1:
            return 0
        n = np.arange(n_max + 1)
        tokens = n_texts + np.concatenate([[0.0], (rates[:, None] ** n[1:]).sum(0).cumsum()])
        seconds = np.array(self.cost.seconds)[n_texts * (1 + n)] + n * self._own_cost.seconds[n_texts]
        best = int((tokens / seconds).argmax())
        is_measured = self.cost.is_measured and self._own_cost.is_measured
        if is_measured and tokens[best] / seconds[best] >= LEAST_GAIN * tokens[0] / seconds[0]:
            self._wait, self._pause = 0, 1
            return best
        self._wait += 1
        if self._wait <= self._pause:
            return 0
        self._wait, self._pause = 0, min(4 * self._pause, LONGEST_PAUSE)
        return min(2, n_max)  # the second one is made in a step of one row, which is what is to be measured

    def _step(self, live: Seq[tuple[ModelDrafter, int]]) -> list[tuple[ModelDrafter, int]]:
        """Compute what the sequences lack, as far as a step goes; return those that go on from a new guess."""
        budget, chunks = self.cache.n_batch, []
        for drafter, most in live:
            seq = drafter.seq
            if seq is not None and budget:
                n = min(seq.n_left, budget)
                budget -= n
                chunks.append((drafter, most, Chunk(seq, n, int(n == seq.n_left))))
        if not chunks:
            return []
        for _, _, chunk in chunks:
            chunk.reserve()
        begin = time.perf_counter()
        batch = self.runner.batch([chunk for _, _, chunk in chunks])
        rows = iter(self.runner.run(batch)["logits"].values)
        if batch.n_tokens == len(batch.outputs):
            self._own_cost.learn(batch.n_tokens, time.perf_counter() - begin)
        for _, _, chunk in chunks:
            chunk.commit()
        with_row = [(drafter, most, next(rows)) for drafter, most, chunk in chunks if chunk.n_outputs]
        return [(drafter, most) for drafter, most, row in with_row if self._goes_on(drafter, row)]

    def _goes_on(self, drafter: ModelDrafter, logits: npt.NDArray[np.float32]) -> bool:
        """Add the best token to the guess; return whether a further one is worth it."""
        candidates = self._candidates
        if drafter.seq is None or drafter.seq.is_full or not candidates.load(logits[: self._n_vocab]):
            return False
        normalizer = candidates.log_sum_exp()
        ((token, logit),) = candidates.ranked(1)
        drafter.seq.append(token)
        return drafter.add(token, math.exp(logit - normalizer)) >= LEAST_CHANCE
