"""BeamSearch: which of several texts in the making go on, and which have ended; the scoring, without any model.

The params are those of transformers 5 (`GenerationMixin._beam_search`), of groups those of its "group beam search":
Vijayakumar et al., "Diverse Beam Search" (2016), with Hamming diversity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from realizar.sampling.logprobs import Sampled

Ranked = Sequence[tuple[Sampled, float]]
"""Tokens that may come next and the logprobs that they are ranked by, best first (`SamplerChain.rank`)."""


def score(total: float, n: int, length_penalty: float) -> float:
    """What texts are ranked by: the sum of their n tokens' logprobs / n ** length_penalty."""
    return float(total / n**length_penalty)


@dataclass(frozen=True, slots=True, eq=False)
class Beam:
    """A text in the making, or an ended one: its last token, the text before it, and what the whole is worth.

    Attributes
    ----------
    total : float
        Sum of the tokens' logprobs, less what groups cost.
    n : int
        Tokens generated; 0 is the prompt alone.
    last : Sampled | None
    before : Beam | None
    """

    total: float = 0.0
    n: int = 0
    last: Sampled | None = None
    before: Beam | None = None

    @property
    def chosen(self) -> list[Sampled]:
        """The tokens generated, oldest first."""
        found: list[Sampled] = []
        beam = self
        while beam.last is not None and beam.before is not None:
            found.append(beam.last)
            beam = beam.before
        return found[::-1]

    @property
    def tokens(self) -> list[int]:
        """Their ids."""
        return [sampled.token_id for sampled in self.chosen]


class FinishedBeam(NamedTuple):
    """A text that came to an end: its score, and whether a token (or a string) ended it, or the length."""

    score: float
    beam: Beam
    stopped: bool


class BeamStep(NamedTuple):
    """A text that goes on: which of the texts that were live it continues, and the token it adds."""

    parent: int
    token: int


@dataclass(frozen=True)
class BeamParams:
    """What a search goes by; `SamplingParams` says what each of them does.

    `n_tokens` is how long a text may get.
    """

    n_beams: int
    n_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: bool | Literal["never"]
    n_tokens: int

    @property
    def group_size(self) -> int:
        """Beams of a group."""
        return self.n_beams // self.n_groups

    def score(self, beam: Beam, n: int) -> float:
        """What a text of n tokens with the total of this one would be ranked by."""
        return score(beam.total, n, self.length_penalty)


class BeamGroup:
    """Beams that compete with each other."""

    def __init__(self, params: BeamParams) -> None:
        self._params = params
        self.live = [Beam()]
        self.ended: list[FinishedBeam] = []

    def advance(
        self, rows: Sequence[Ranked], first: int, taken: Counter[int], ends: Callable[[int, int], bool]
    ) -> list[BeamStep]:
        """Continue the live texts; returns how those that are live now came about.

        The best `size` continuations are either live or ended now. For each that ended the next best is live in its
        place, so that `size` go on.

        Parameters
        ----------
        rows : sequence of Ranked
            The texts' continuations, as for `BeamSearch.advance`.
        first : int
            Which of them is that of this group's first text.
        taken : Counter of int
            How often earlier groups took a token in this step; it costs diversity_penalty each time. What this group
            takes is added.
        ends : callable
            `ends(i, token)`: whether this token ends the text of row i.
        """
        params, size = self._params, self._params.group_size
        n = self.live[0].n + 1
        is_last = n >= params.n_tokens
        found = [
            (beam.total + logprob - params.diversity_penalty * taken[sampled.token_id], -i, -rank, sampled)
            for i, beam in enumerate(self.live, first)
            for rank, (sampled, logprob) in enumerate(rows[i])
        ]
        found.sort(reverse=True)  # of equals those of the better text, and its own better one, first
        live: list[Beam] = []
        steps: list[BeamStep] = []
        for place, (total, minus_i, _, sampled) in enumerate(found):
            if len(live) == size or (is_last and place == size):
                break
            beam = Beam(total, n, sampled, self.live[-minus_i - first])
            stopped = ends(-minus_i, sampled.token_id)
            if not (stopped or is_last):
                live.append(beam)
                steps.append(BeamStep(-minus_i, sampled.token_id))
            elif place < size:
                self.ended.append(FinishedBeam(params.score(beam, n), beam, stopped))
        taken.update(step.token for step in steps)
        self._keep_best()
        self.live = [] if self._is_over(live, n) else live
        return steps if self.live else []

    def end(self) -> None:
        """End the texts that go on where they are."""
        self.ended += [FinishedBeam(self._params.score(beam, beam.n), beam, False) for beam in self.live if beam.n]
        self.live = []
        self._keep_best()

    def _keep_best(self) -> None:
        self.ended = sorted(self.ended, key=lambda ended: -ended.score)[: self._params.group_size]

    def _is_over(self, live: list[Beam], n: int) -> bool:
        """Whether no live text is to go on: there is none, or enough have ended and none of the live may beat them.

        The best that a live text may come to is guessed: its total is not going to grow, and what it is divided by is
        taken for the length that it has now, or, where early_stopping is "never", for the greatest there is.
        """
        params = self._params
        if not live or len(self.ended) < params.group_size:
            return not live
        if params.early_stopping is True:
            return True
        longest = params.early_stopping == "never" and params.length_penalty > 0.0
        return params.score(live[0], params.n_tokens if longest else n) <= self.ended[-1].score


class BeamSearch:
    """Beams in groups: each group takes its turn in a step, and what earlier ones took in it costs something.

    Attributes
    ----------
    groups : list of BeamGroup
    """

    def __init__(self, params: BeamParams) -> None:
        self._params = params
        self.groups = [BeamGroup(params) for _ in range(params.n_groups)]

    @property
    def live(self) -> list[Beam]:
        """Texts that go on, group by group; at first, the prompt once for each group."""
        return [beam for group in self.groups for beam in group.live]

    @property
    def has_begun(self) -> bool:
        """Whether the texts have tokens of their own."""
        return any(beam.n for beam in self.live)

    def n_ranked(self, n_ends: int) -> int:
        """How many continuations of each text to look at, if so many tokens end one.

        Of a text's best, n_ends may end it and n_beams - group_size may have been taken by other groups. Where stop
        strings end more, fewer texts may go on for a step.
        """
        return self._params.n_beams + n_ends

    def advance(self, rows: Sequence[Ranked], ends: Callable[[int, int], bool]) -> list[BeamStep]:
        """Continue the live texts, `rows[i]` says with what the i-th; returns how those that are live now came about.

        `ends(i, token)` says whether a token ends the i-th text.
        """
        taken: Counter[int] = Counter()
        steps: list[BeamStep] = []
        first = 0
        for group in self.groups:
            n = len(group.live)
            if n:
                steps += group.advance(rows, first, taken, ends)
            first += n
        return steps

    def end(self) -> None:
        """End the texts that go on where they are."""
        for group in self.groups:
            group.end()

    def best(self, n: int) -> list[FinishedBeam]:
        """Return the n best texts that have ended, or as many as there are."""
        return sorted((e for group in self.groups for e in group.ended), key=lambda e: -e.score)[:n]
