"""Temperature and its variants: sharpen or flatten the distribution."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import distribution
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Temperature:
    """Divides the logits by `t` > 0: below 1, probable tokens become more probable.

    The logits become (logit - best) / t: the softmax is the same as of logit / t, and a tiny t cannot overflow.
    """

    t: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Scale all logits."""
        candidates.temperature(self.t)


@dataclass(frozen=True)
class DynamicTemperature:
    """A temperature that grows with the entropy H: t_min + (t_max - t_min) * (H / log n)**`exponent`.

    t_min = max(0, `t` - `reach`) applies if one candidate is certain, t_max = `t` + `reach` if all n candidates are
    equally probable; n counts the candidates with a finite logit. Zhu et al., "Hot or cold? Adaptive temperature
    sampling for code generation" (2023), as implemented in KoboldCpp and llama.cpp ("entropy").
    """

    t: float
    reach: float
    exponent: float = 1.0

    def apply(self, candidates: Candidates, history: History) -> None:
        """Scale all logits."""
        distribution.dynamic_temperature(candidates, self.t, self.reach, self.exponent)


@dataclass(frozen=True)
class Quadratic:
    """Quadratic smoothing: the best candidates become more alike, and the others less probable.

    With d = logit - best: best - `factor` * ((3 - `curve`) / 2 * d**2 - (`curve` - 1) / 2 * d**3). Kalomaze's quadratic
    and cubic sampling, as in text-generation-webui.
    """

    factor: float
    curve: float = 1.0

    def apply(self, candidates: Candidates, history: History) -> None:
        """Change all logits."""
        distribution.quadratic(candidates, self.factor, self.curve)


@dataclass(frozen=True)
class Greedy:
    """Keeps only the best candidate; of equal logits, the one with the lowest id."""

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.greedy()
