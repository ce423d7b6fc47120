"""A speculator that knows what a fake model says next, and is wrong now and then."""

import numpy as np

from realizar.engine.speculation.speculator import Guess, Speculator, StepCost
from tests.engine.fake import N_VOCAB


class OracleDrafter:
    """Notes what it is told."""

    def __init__(self):
        self.taken = []
        self.freed = False

    def learn(self, taken):
        self.taken.append(list(taken))

    def free(self):
        self.freed = True


class FlatCost(StepCost):
    """Rows that cost nearly nothing, so that whatever is guessed is tried."""

    def __init__(self, n_max):
        super().__init__(n_max)
        self._seconds = np.linspace(1.0, 1.1, n_max + 1).tolist()

    def learn(self, n_rows, seconds):
        """Believe no clock: what is tried must not depend on it."""


class Oracle(Speculator):
    """Guesses what `knows(tokens, n)` says follows; one guess in `every` is another token."""

    def __init__(self, knows, every=4, n_draft=7, n_batch=32):
        super().__init__(n_draft, n_batch)
        self.cost = FlatCost(n_batch)
        self.knows = knows
        self.every = every
        self.n_guessed = 0

    def drafter(self, answer):
        return OracleDrafter()

    def forget_programs(self):
        """Runs none."""

    def close(self):
        """Holds nothing."""

    def guesses(self, answers):
        return [self.guess(answer) for answer in answers]

    def guess(self, answer):
        tokens = np.array(self.knows(answer.seq.tokens.tolist(), self.n_draft(answer)), np.int32)
        for i in range(len(tokens)):
            self.n_guessed += 1
            if self.n_guessed % self.every == 0:
                tokens[i] = (tokens[i] + 1) % N_VOCAB
        return Guess(tokens, [0.999 ** (i + 1) for i in range(len(tokens))])
