"""Speculative decoding: before each step, how many of the drafts of each text to verify along with its last token."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from realizar.engine.generation import Generation
from realizar.sampling import batch_logits_processors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as Seq

    import numpy.typing as npt

    from realizar.engine.generation import Answer
    from realizar.engine.request import Request


LEAST_GAIN = 1.15
"""Drafts are tried where they promise so many times the tokens per second. With 1.05, answers that do not repeat took
up to 2 % longer, with 1.25 those that do 5 %."""
MAX_ROWS = 256
"""Rows of a step with drafts: with more than a few, a row costs what it does in a prompt."""


class Guess(NamedTuple):
    """What may come next: int32 [n], and of the first of them the probability that the text agrees up to each."""

    tokens: npt.NDArray[np.int32]
    chances: list[float]


NO_GUESS = Guess(np.empty(0, np.int32), [])


class Drafter(Protocol):
    """Proposes draft tokens for one text."""

    def learn(self, taken: Seq[int]) -> None:
        """Record the tokens that followed the last draft; at most the last one differs from it."""

    def free(self) -> None:
        """Free its memory."""


class HitRate:
    """How often guesses were right of late, by their kind.

    Parameters
    ----------
    first : sequence of float
        What to believe of each kind at first; it weighs as much as `PRIOR` guesses.

    Attributes
    ----------
    rates : list of float
        Right ones among those seen, each weighing `MEMORY` times as much as the next.
    """

    MEMORY = 0.97
    PRIOR = 4.0

    def __init__(self, first: Seq[float]) -> None:
        self.rates = list(first)
        self._weights = [self.PRIOR] * len(first)

    def learn(self, kind: int, right: bool) -> None:
        """Count one more guess."""
        weight = self.MEMORY * self._weights[kind]
        self._weights[kind] = weight + 1.0
        self.rates[kind] = (weight * self.rates[kind] + right) / (weight + 1.0)


N_KEPT = 7
"""Measurements that count of each number of rows; their median, since others use the machine too."""


class StepCost:
    """Seconds that a step of 0 .. n_max rows takes, each with an output.

    Where a number of rows was never measured, the usual cost is scaled as at the numbers beside it that were. Usual is
    what Qwen2.5-Coder 0.5B (Q4_K_M) takes on two cores with AVX-512, in steps of one row: 1.37 with 2 rows, 1.8 with
    8, 2.5 with 16, 3.6 with 32.

    """

    def __init__(self, n_max: int) -> None:
        self._rows = np.arange(n_max + 1)
        self._usual = 1.25 + 0.075 * self._rows
        self._usual[:2] = 0.0, 1.0
        self._measured: dict[int, deque[float]] = {}
        self._seconds: list[float] = self._usual.tolist()

    @property
    def is_measured(self) -> bool:
        """Whether any step was."""
        return bool(self._measured)

    @property
    def seconds(self) -> list[float]:
        """By the number of rows; before the first measurement, in steps of one row."""
        if not self._seconds:
            known = sorted(self._measured)
            scales = [median(self._measured[n]) / self._usual[n] for n in known]
            self._seconds = (self._usual * np.interp(self._rows, known, scales)).tolist()
        return self._seconds

    def learn(self, n_rows: int, seconds: float) -> None:
        """Take note of a step."""
        if 1 <= n_rows < len(self._rows):
            self._measured.setdefault(n_rows, deque(maxlen=N_KEPT)).append(seconds)
            self._seconds = []


class Speculator(ABC):
    """Chooses the drafts of the texts that are being written.

    A step of more rows takes longer, and gives more tokens where guesses are right. Of all guesses about all texts the
    most probable ones become drafts, as many as promise the most tokens per second, or none.

    Parameters
    ----------
    n_draft : int
        Drafts of one text at most.
    n_batch : int
        Rows of a step at most.

    Attributes
    ----------
    cost : StepCost
        What the model's steps were measured to take.
    """

    def __init__(self, n_draft: int, n_batch: int) -> None:
        self.cost = StepCost(min(n_batch, MAX_ROWS))
        self._n_draft = n_draft
        self._n_batch = n_batch

    @abstractmethod
    def drafter(self, answer: Answer) -> Drafter:
        """Return a drafter for a new text."""

    @abstractmethod
    def guesses(self, answers: Seq[Answer]) -> list[Guess]:
        """Return a guess about each of some texts, all of which have one token to compute."""

    @abstractmethod
    def forget_programs(self) -> None:
        """Drop compiled programs; they are compiled again when next needed."""

    @abstractmethod
    def close(self) -> None:
        """Free all memory."""

    def attach(self, request: Generation) -> None:
        """Let the texts of a new request have drafts.

        Not with batch logits processors, which see the tokens of the text alone; not with guidance, whose rows come in
        pairs; and not after embeddings, which have no tokens to look up or to give to a draft model.
        """
        content = request.seq.content
        reads_tokens = content is None or content.embeddings is None
        if reads_tokens and not batch_logits_processors(request.params) and len(request.seq.together) == 1:
            for answer in request.answers:
                answer.drafter = self.drafter(answer)

    def n_draft(self, answer: Answer) -> int:
        """Number of drafts that a text has room for; one more token must fit after them."""
        return max(0, min(self._n_draft, answer.n_left - 1, answer.seq.n_to_snapshot))

    def prepare(self, requests: Iterable[Request]) -> None:
        """Choose the drafts of the next step.

        Every text keeps its own row of the step, and prompts that are being read keep half of the rest.
        """
        requests = [request for request in requests if not (request.is_over or request.is_paused)]
        answers = [a for r in requests if isinstance(r, Generation) for a in r.answers if a.may_draft]
        if not answers:
            return
        decoding = [seq for request in requests for seq in request.seqs if seq.n_new == 1]
        room = self._n_batch - sum(seq.n_left for seq in decoding)
        if any(request.is_prefilling for request in requests):
            room //= 2
        guesses = self.guesses(answers)
        n_replayed = sum(answer.seq.n_replayed for answer in answers)
        counts = self._choose([guess.chances for guess in guesses], max(room, 0), n_replayed)
        for answer, guess, n in zip(answers, guesses, counts, strict=True):
            answer.drafts = guess.tokens[:n]

    def _choose(self, chances: list[list[float]], room: int, n_replayed: int = 0) -> list[int]:
        """Return how many drafts each text gets, in all at most `room`; n_replayed rows are computed in any case."""
        n_texts, best = len(chances), 0
        best_first = sorted(
            ((-chance, text) for text, each in enumerate(chances) for chance in each), key=itemgetter(0)
        )
        if best_first:
            tokens, seconds = float(n_texts), self.cost.seconds[n_texts + n_replayed :]
            best_rate = LEAST_GAIN * tokens / seconds[0] if seconds else math.inf
            for n, ((chance, _), s) in enumerate(zip(best_first[:room], seconds[1:], strict=False), start=1):
                tokens -= chance
                if tokens > best_rate * s:
                    best, best_rate = n, tokens / s
        counts = [0] * n_texts
        for _, text in best_first[:best]:
            counts[text] += 1
        return counts
