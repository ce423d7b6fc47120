"""BeamSearch: scoring and selection of beams, independent of a model.

The algorithm is that of transformers 5 (`GenerationMixin._beam_search`); with groups, that of its "group beam search":
Vijayakumar et al., "Diverse Beam Search" (2016), with Hamming diversity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from realizar.sampling.logprobs import Sampled

Ranked = Sequence[tuple[Sampled, float]]
"""Candidate next tokens of a beam with their scores, best first (`SamplerChain.rank`)."""


def score(total: float, n: int, length_penalty: float) -> float:
    """Return the score of a sequence: the sum of the logprobs of its n tokens / n ** length_penalty."""
    return float(total / n**length_penalty)


@dataclass(frozen=True, slots=True, eq=False)
class Beam:
    """A live or finished beam: a linked list of tokens with their total score.

    Attributes
    ----------
    total : float
        Sum of the tokens' logprobs, minus the diversity penalties.
    n : int
        Number of generated tokens; 0 for the prompt alone.
    last : Sampled | None
        The last token.
    before : Beam | None
        The beam that `last` extended.
    """

    total: float = 0.0
    n: int = 0
    last: Sampled | None = None
    before: Beam | None = None

    @property
    def chosen(self) -> list[Sampled]:
        """The generated tokens, oldest first."""
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
    """A finished beam, its score, and whether an end token or a stop string ended it (otherwise the length did)."""

    score: float
    beam: Beam
    stopped: bool


class BeamStep(NamedTuple):
    """How a live beam was made: the index of the previous live beam that it extends, and the token it adds."""

    parent: int
    token: int


@dataclass(frozen=True)
class BeamParams:
    """Parameters of a beam search (see `SamplingParams`); `n_tokens` is the greatest number of generated tokens."""

    n_beams: int
    n_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: bool | Literal["never"]
    n_tokens: int

    @property
    def group_size(self) -> int:
        """Number of beams of a group."""
        return self.n_beams // self.n_groups

    def score(self, beam: Beam, n: int) -> float:
        """Return the score of a sequence of n tokens with the total of this beam."""
        return score(beam.total, n, self.length_penalty)


class BeamGroup:
    """A group of beams that compete with each other."""

    def __init__(self, params: BeamParams) -> None:
        self._params = params
        self.live = [Beam()]
        self.ended: list[FinishedBeam] = []

    def advance(
        self, rows: Sequence[Ranked], first: int, taken: Counter[int], ends: Callable[[int, int], bool]
    ) -> list[BeamStep]:
        """Extend the live beams by one token; return how the new live beams were made.

        Of all continuations, the best `size` become live or, if their token ends them, finished. The next best replace
        the finished ones, so that `size` beams stay live.

        Parameters
        ----------
        rows : sequence of Ranked
            See `BeamSearch.advance`.
        first : int
            Row of the first beam of this group.
        taken : Counter of int
            How often earlier groups chose each token in this step; each time costs diversity_penalty. The tokens that
            this group chooses are added.
        ends : callable
            `ends(i, token)`: whether this token ends the beam of row i.
        """
        params, size = self._params, self._params.group_size
        n = self.live[0].n + 1
        is_last = n >= params.n_tokens
        found = [
            (beam.total + logprob - params.diversity_penalty * taken[sampled.token_id], -i, -rank, sampled)
            for i, beam in enumerate(self.live, first)
            for rank, (sampled, logprob) in enumerate(rows[i])
        ]
        found.sort(reverse=True)  # ties: first the better beam, then its better continuation
        live: list[Beam] = []
        steps: list[BeamStep] = []
        for rank, (total, minus_i, _, sampled) in enumerate(found):
            if len(live) == size or (is_last and rank == size):
                break
            beam = Beam(total, n, sampled, self.live[-minus_i - first])
            stopped = ends(-minus_i, sampled.token_id)
            if not (stopped or is_last):
                live.append(beam)
                steps.append(BeamStep(-minus_i, sampled.token_id))
            elif rank < size:
                self.ended.append(FinishedBeam(params.score(beam, n), beam, stopped))
        taken.update(step.token for step in steps)
        self._keep_best()
        self.live = [] if self._is_over(live, n) else live
        return steps if self.live else []

    def end(self) -> None:
        """Finish all live beams at their current length."""
        self.ended += [FinishedBeam(self._params.score(beam, beam.n), beam, False) for beam in self.live if beam.n]
        self.live = []
        self._keep_best()

    def _keep_best(self) -> None:
        self.ended = sorted(self.ended, key=lambda ended: -ended.score)[: self._params.group_size]

    def _is_over(self, live: list[Beam], n: int) -> bool:
        """Whether the group stops: no beam is live, or `group_size` beams are finished and no live one may beat them.

        A live beam is rated by its score at its current length or, if early_stopping is "never", at the length that
        gives the greatest score, because its total cannot grow.
        """
        params = self._params
        if not live or len(self.ended) < params.group_size:
            return not live
        if params.early_stopping is True:
            return True
        longest = params.early_stopping == "never" and params.length_penalty > 0.0
        return params.score(live[0], params.n_tokens if longest else n) <= self.ended[-1].score


class BeamSearch:
    """Beam search with groups: in each step the groups choose in turn; repeating another group's token is penalized.

    Attributes
    ----------
    groups : list of BeamGroup
    """

    def __init__(self, params: BeamParams) -> None:
        self._params = params
        self.groups = [BeamGroup(params) for _ in range(params.n_groups)]

    @property
    def live(self) -> list[Beam]:
        """The live beams, group by group; initially one beam (the prompt) for each group."""
        return [beam for group in self.groups for beam in group.live]

    @property
    def has_begun(self) -> bool:
        """Whether a live beam has generated tokens."""
        return any(beam.n for beam in self.live)

    def n_ranked(self, n_ends: int) -> int:
        """Return the number of continuations to rank for each beam, given the number of end tokens.

        Of a beam's best continuations, n_ends may end it, and n_beams - group_size may have been chosen by other
        groups. If stop strings end more of them, fewer beams may stay live for a step.
        """
        return self._params.n_beams + n_ends

    def advance(self, rows: Sequence[Ranked], ends: Callable[[int, int], bool]) -> list[BeamStep]:
        """Extend the live beams by one token; return how the new live beams were made.

        `rows[i]` are the ranked continuations of the i-th live beam; `ends(i, token)` tells whether a token ends it.
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
        """Finish all live beams at their current length."""
        for group in self.groups:
            group.end()

    def best(self, n: int) -> list[FinishedBeam]:
        """Return the n best finished beams, or all if there are fewer."""
        return sorted((e for group in self.groups for e in group.ended), key=lambda e: -e.score)[:n]
