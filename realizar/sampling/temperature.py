"""Temperature and its kin: how much chance there is in the choice."""

from __future__ import annotations

from dataclasses import dataclass

from realizar._kernels import distribution
from realizar._kernels.sampling import Candidates
from realizar.sampling.sampler import History


@dataclass(frozen=True)
class Temperature:
    """Divides the logits by `t` > 0: below 1 the probable become more probable.

    The logits become (logit - best) / t, which softmax cannot tell from logit / t, and which no tiny t makes overflow.
    """

    t: float

    def apply(self, candidates: Candidates, history: History) -> None:
        """Scale all logits."""
        candidates.temperature(self.t)


@dataclass(frozen=True)
class DynamicTemperature:
    """A temperature that grows with the entropy H, from max(0, `t` - `reach`) where one candidate is certain to
    `t` + `reach` where all n are equal: t_min + (t_max - t_min) * (H / log n)**`exponent`.

    Zhu et al., "Hot or cold? Adaptive temperature sampling for code generation" (2023), in the form that KoboldCpp and
    llama.cpp gave it ("entropy"). n counts the candidates with a finite logit.
    """

    t: float
    reach: float
    exponent: float = 1.0

    def apply(self, candidates: Candidates, history: History) -> None:
        """Scale all logits."""
        distribution.dynamic_temperature(candidates, self.t, self.reach, self.exponent)


@dataclass(frozen=True)
class Quadratic:
    """Smoothing: the best candidates become more alike, and the others fall off faster.

    With d = logit - best: best - `factor` * ((3 - `curve`) / 2 * d**2 - (`curve` - 1) / 2 * d**3). Kalomaze's quadratic
    and cubic sampling, as in text-generation-webui.
    """

    factor: float
    curve: float = 1.0

    def apply(self, candidates: Candidates, history: History) -> None:
        """Bend all logits."""
        distribution.quadratic(candidates, self.factor, self.curve)


@dataclass(frozen=True)
class Greedy:
    """Keeps the best candidate alone; of equals the one with the lowest id."""

    def apply(self, candidates: Candidates, history: History) -> None:
        """Drop the others."""
        candidates.greedy()
