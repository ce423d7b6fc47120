"""Names of samplers in plugin API 1.1, for one more release: each warns and does what its new name does."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from realizar.sampling.sampler import ForkableSampler, Sampler, StatefulSampler

if TYPE_CHECKING:
    from realizar._kernels.sampling import Candidates
    from realizar.sampling.sampler import History

RENAMED = {"Setting": "SamplerContext", "Learner": "StatefulSampler", "TokenTexts": "TokenBytes"}
"""Old name -> new name, in `realizar.sampling`."""


def warn(old: str, new: str) -> None:
    """Warn the caller's caller that a name is deprecated."""
    warnings.warn(f"{old} is now {new}; the old name will be removed in plugin API 2.0", DeprecationWarning, 3)


class _OldStatefulSampler:
    """A sampler with the methods `fresh` and `learn`, under their new names."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __repr__(self) -> str:
        return repr(self._sampler)

    def apply(self, candidates: Candidates, history: History) -> None:
        self._sampler.apply(candidates, history)

    def reset_copy(self) -> StatefulSampler:
        return type(self)(self._sampler.fresh())

    def accept(self, candidates: Candidates, token_id: int) -> None:
        self._sampler.learn(candidates, token_id)


class _OldForkableSampler(_OldStatefulSampler):
    def fork(self) -> ForkableSampler:
        return type(self)(self._sampler.fork())


def with_new_names(sampler: Sampler) -> Sampler:
    """Return a sampler as it is, or wrapped if it has the old methods of a stateful sampler."""
    if isinstance(sampler, StatefulSampler) or not (hasattr(sampler, "fresh") and hasattr(sampler, "learn")):
        return sampler
    warn("the sampler method fresh()", "reset_copy(), and learn() is now accept()")
    return (_OldForkableSampler if hasattr(sampler, "fork") else _OldStatefulSampler)(sampler)
