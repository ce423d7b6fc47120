"""AdaptiveP: a stateful sampler that keeps the probability of the chosen tokens near a target."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realizar._kernels import diversity
from realizar._kernels.sampling import Candidates
from realizar.errors import ParameterError, short_repr
from realizar.sampling.sampler import History


@dataclass
class AdaptiveP:
    """Prefers candidates whose probability is near a target, regardless of their rank. It must be last in a chain.

    With ``d = abs(p_i - t) / 0.3``, the logits become 5 - 10 * d**2 / (1 + d). t is 2 * `target` minus a weighted mean
    of the probabilities of the tokens chosen so far: the latest has weight 1, each earlier one `decay` times the weight
    of the next. The mean is initially `target`. As in llama.cpp (#17927), which recommends min-p before it.

    Parameters
    ----------
    target : float
        In [0, 1].
    decay : float
        In [0, 0.99].
    """

    target: float
    decay: float = 0.9
    _sum: float = field(init=False, repr=False, compare=False)
    _weight: float = field(init=False, repr=False, compare=False)
    _p: NDArray[np.float32] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        for name, value, most in (("target", self.target, 1.0), ("decay", self.decay, 0.99)):
            if not 0.0 <= value <= most:
                raise ParameterError(f"AdaptiveP: {name}={short_repr(value)}: must be a number in [0, {most:g}]")
        self._weight = 1.0 / (1.0 - self.decay)
        self._sum = self.target * self._weight

    def reset_copy(self) -> AdaptiveP:
        """Return a copy whose mean is the target."""
        return AdaptiveP(self.target, self.decay)

    def apply(self, candidates: Candidates, history: History) -> None:
        """Change all logits."""
        if self._p is None:
            self._p = np.empty(candidates.n_vocab, np.float32)
        target = min(max(2.0 * self.target - self._sum / self._weight, 0.0), 1.0)
        diversity.adaptive(candidates, target, self._p)

    def accept(self, candidates: Candidates, token_id: int) -> None:
        """Update the mean with the probability that the chosen token had before this sampler."""
        if self._p is not None:
            self._sum = float(self._p[token_id]) + self.decay * self._sum
            self._weight = 1.0 + self.decay * self._weight
