"""StepwiseSpeculator: drafts that a model makes token by token, and how many of them to make."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from realizar._kernels.sampling import Candidates
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

LEAST_CHANCE = 0.3
"""A draft token that is accepted with a smaller probability, along with those before it, is the last one."""
LONGEST_PAUSE = 1024
"""Maximum steps without drafts while they do not pay off: then two are drafted, to see whether they do now."""
# Classes of draft tokens by the probability that the draft model gives them, and their first acceptance probabilities.
_BOUNDS, _FIRST_RATES = (0.3, 0.5, 0.7, 0.85, 0.95), (0.2, 0.4, 0.6, 0.75, 0.9, 0.95)


class StepwiseDrafter:
    """The draft tokens of one sequence, which grow one by one, and their acceptance probabilities.

    Attributes
    ----------
    tokens, chances : list
        Draft tokens, and the probability that all up to each are accepted.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.chances: list[float] = []
        self._kinds: list[int] = []
        self._rates = HitRate(_FIRST_RATES)
        self._all = HitRate((0.7,))

    @property
    def rate(self) -> float:
        """The share of accepted draft tokens."""
        return self._all.rates[0]

    def begin(self) -> None:
        """Drop the draft tokens."""
        self.tokens, self.chances, self._kinds = [], [], []

    def add(self, token: int, sureness: float) -> float:
        """Add a draft token, and return the probability that all up to it are accepted.

        `sureness` is the probability that the draft model gives it.
        """
        kind = int(np.searchsorted(_BOUNDS, sureness))
        chance = self._rates.rates[kind] * (self.chances[-1] if self.chances else 1.0)
        self.tokens.append(token)
        self.chances.append(chance)
        self._kinds.append(kind)
        return chance

    def learn(self, taken: Seq[int]) -> None:
        """Learn from the tokens that were sampled; at most the last one differs from the draft."""
        for i, (token, guessed) in enumerate(zip(taken, self.tokens, strict=False)):
            self._rates.learn(self._kinds[i], token == guessed)
            self._all.learn(0, token == guessed)
        self.tokens = []

    def free(self) -> None:
        """Free its memory."""


class StepwiseSpeculator(Speculator):
    """Proposes the most probable tokens of a draft model, one by one.

    Their number, the same for all sequences, is chosen before each step: it maximizes the predicted tokens per second,
    by learned acceptance probabilities and measured times.

    Parameters
    ----------
    n_draft, n_batch : int
        As for Speculator.
    n_vocab : int
        Tokens that may be proposed.
    """

    def __init__(self, n_draft: int, n_batch: int, n_vocab: int) -> None:
        super().__init__(n_draft, n_batch)
        self._n_vocab = n_vocab
        self._candidates = Candidates(n_vocab)
        self._own_cost = StepCost(min(n_batch, MAX_ROWS))
        self._wait = 0
        self._pause = 1

    @abstractmethod
    def _propose(self, pairs: Seq[tuple[Answer, int]]) -> None:
        """Let the drafters of some answers, which are StepwiseDrafters, draft at most so many tokens each."""

    def guesses(self, answers: Seq[Answer]) -> list[Guess]:
        """Return the draft tokens of every answer."""
        drafters = [answer.drafter for answer in answers]
        n = self._n_steps([drafter for drafter in drafters if isinstance(drafter, StepwiseDrafter)])
        pairs = []
        for answer, drafter in zip(answers, drafters, strict=True):
            if isinstance(drafter, StepwiseDrafter):
                drafter.begin()
                if most := min(n, self.n_draft(answer)):
                    pairs.append((answer, most))
        self._propose(pairs)
        return [self._guess(drafter) for drafter in drafters]

    @staticmethod
    def _guess(drafter: Drafter | None) -> Guess:
        if not isinstance(drafter, StepwiseDrafter):
            return NO_GUESS
        return Guess(np.array(drafter.tokens, np.int32), drafter.chances)

    def _n_steps(self, drafters: Seq[StepwiseDrafter]) -> int:
        """Return the number of draft tokens of each sequence: 0 if they do not pay off, but a few now and then."""
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
        return min(2, n_max)  # the second one takes a step of one row, which is what is to be measured

    def _best(self, logits: npt.NDArray[np.float32]) -> tuple[int, float] | None:
        """Return the best token and its probability; None where the logits have none."""
        candidates = self._candidates
        if not candidates.load(logits[: self._n_vocab]):
            return None
        normalizer = candidates.log_sum_exp()
        ((token, logit),) = candidates.ranked(1)
        return token, math.exp(logit - normalizer)
