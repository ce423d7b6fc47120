"""Mirostat: keeps the surprise (in bits per token) near a target.

Basu et al., "Mirostat: a neural text decoding algorithm that directly controls perplexity" (2021). Initially
mu = 2 * tau; after each token mu -= eta * (surprise - tau), with surprise = -log2(p) and p the probability of the token
among the candidates it was drawn from (as in llama.cpp; the paper uses the probability before truncation). It must be
last in a chain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from realizar._kernels import distribution, diversity
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass
class MirostatV2:
    """Algorithm 2: keeps the candidates with a surprise of at most mu (p_i >= 2**-mu), and always the best one."""

    tau: float = 5.0
    eta: float = 0.1
    mu: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.mu = 2.0 * self.tau

    def reset_copy(self) -> MirostatV2:
        """Return a copy with mu = 2 * tau."""
        return type(self)(self.tau, self.eta)

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        distribution.epsilon(candidates, 2.0 ** -min(max(self.mu, 0.0), 1000.0))

    def accept(self, candidates: Candidates, token_id: int) -> None:
        """Correct mu by the difference between the token's surprise and the target."""
        self.mu -= self.eta * (-math.log2(candidates.drawn_p) - self.tau)


@dataclass
class Mirostat(MirostatV2):
    """Algorithm 1: top-k, with k computed from mu and the exponent s of a Zipf law fitted to the 100 best candidates.

    k = (e * 2**mu / (1 - n_vocab**-e))**(1 / s) with e = s - 1; s is the least-squares slope of log(p) over log(rank).
    """

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.top_k(diversity.mirostat_rank(candidates, min(self.mu, 1000.0)))
