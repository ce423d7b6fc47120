"""Truncation: drop improbable candidates, by rank, by probability, or by the shape of the distribution.

p_i is the probability of candidate i among the candidates left by earlier samplers; H = -sum(p_i log p_i) is the
entropy. The best candidate is always kept; of equal logits, the lower id is the better one.
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
    """Keeps the smallest set of best candidates whose probabilities sum to at least `p`, and at least one.

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
    """Keeps the candidates whose surprise is nearest the entropy, until their probabilities sum to at least `p`.

    The candidates are ordered by ``abs(-log(p_i) - H)``, smallest first; this one sampler may drop the best candidate.
    Meister et al., "Locally typical sampling" (2022), equation 5.
    """

    p: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.typical(candidates, self.p)


@dataclass(frozen=True)
class TailFree:
    """Cuts off the tail where the curvature of the sorted probabilities is used up.

    With ``c_i = abs(p_i - 2 p_(i+1) + p_(i+2))``, it keeps the candidates before the first i > 0 for which
    c_0 + ... + c_i > `z` * sum(c). It keeps all if there is no such i: if the curvature is 0, or for up to three
    candidates.

    Bricken, "Tail free sampling" (2019); the exact place of the cut is that of llama.cpp up to b3907.
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
    """Keeps the candidates with p_i >= min(`epsilon`, sqrt(`epsilon`) * exp(-H)): cuts less if the entropy is high.

    Hewitt, Manning and Liang, "Truncation sampling as language model desmoothing" (2022), section 4.2; with the same
    epsilon in both places, as in transformers.
    """

    epsilon: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.eta(candidates, self.epsilon)


@dataclass(frozen=True)
class TopA:
    """Keeps the candidates with p_i >= `a` * max(p)**2: cuts more if the best candidate is more probable.

    As in KoboldAI, after BlinkDL's proposal in RWKV-LM (2021).
    """

    a: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.top_a(candidates, self.a)


@dataclass(frozen=True)
class TopNSigma:
    """Keeps the candidates whose logit is at most `n` standard deviations (of all finite logits) below the greatest.

    Tang et al., "Top-n-sigma: not all logits are you need" (2024). A temperature before it does not change its result.
    """

    n: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.top_n_sigma(candidates, self.n)
