"""Truncation: leave improbable candidates out, by their rank, their probability, or the shape of the distribution.

p_i is the probability of candidate i among those that the samplers before have left, H = -sum(p_i log p_i) the entropy.
The best candidate always stays; of equal logits the lower id is the better one.
"""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import distribution
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class TopK:
    """Keeps the `k` >= 1 best candidates.

    Fan et al., "Hierarchical neural story generation" (2018).
    """

    k: int

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.top_k(min(self.k, candidates.n))


@dataclass(frozen=True)
class TopP:
    """Keeps the smallest set of best candidates whose probabilities sum to at least `p`, and never less than one.

    Holtzman et al., "The curious case of neural text degeneration" (2020).
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.top_p(self.p)


@dataclass(frozen=True)
class MinP:
    """Keeps the candidates that are at least `p` times as probable as the best one: p_i >= p * max(p).

    Nguyen et al., "Turning up the heat: min-p sampling" (2024).
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.min_p(self.p)


@dataclass(frozen=True)
class TypicalP:
    """Keeps the candidates that surprise as much as is to be expected: the smallest |-log(p_i) - H| first, until they
    sum to at least `p`.

    Meister et al., "Locally typical sampling" (2022), equation 5. The best candidate may go here.
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.typical(candidates, self.p)


@dataclass(frozen=True)
class TailFree:
    """Cuts where the sorted probabilities have stopped to bend.

    With c_i = |p_i - 2 p_(i+1) + p_(i+2)|, it keeps the candidates before the first i > 0 for which
    c_0 + ... + c_i > `z` * sum(c). All stay where there is none: where nothing bends, or there are three at most.

    Bricken, "Tail free sampling" (2019); which of the neighbours of the cut stay is as llama.cpp had it up to b3907.
    """

    z: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.tail_free(candidates, self.z)


@dataclass(frozen=True)
class Epsilon:
    """Keeps the candidates with p_i >= `epsilon`.

    Hewitt, Manning and Liang, "Truncation sampling as language model desmoothing" (2022), section 4.1.
    """

    epsilon: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.epsilon(candidates, self.epsilon)


@dataclass(frozen=True)
class Eta:
    """Keeps the candidates with p_i >= min(`epsilon`, sqrt(`epsilon`) * exp(-H)): less is cut where much is possible.

    Hewitt, Manning and Liang, "Truncation sampling as language model desmoothing" (2022), section 4.2; the same epsilon
    under the root, as in transformers.
    """

    epsilon: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.eta(candidates, self.epsilon)


@dataclass(frozen=True)
class TopA:
    """Keeps the candidates with p_i >= `a` * max(p)**2: the surer the best one, the more is cut.

    As in KoboldAI, by BlinkDL's proposal in RWKV-LM (2021).
    """

    a: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.top_a(candidates, self.a)


@dataclass(frozen=True)
class TopNSigma:
    """Keeps the candidates within `n` standard deviations of all finite logits from the greatest.

    Tang et al., "Top-n-sigma: not all logits are you need" (2024): no temperature before it changes what it keeps.
    """

    n: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.top_n_sigma(candidates, self.n)
