"""Pooling: one vector for a text, made of the hidden states of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.errors import ParameterError, shown

F32 = npt.NDArray[np.float32]

_POOL: dict[str, Callable[[F32], F32]] = {
    "mean": lambda hidden: hidden.mean(axis=0),
    "cls": lambda hidden: hidden[0],
    "last": lambda hidden: hidden[-1],
}


def pooler(pooling: str | None, normalize: bool) -> Callable[[Sequence[F32]], Any]:
    """Return what makes vectors, float32 [n_texts, n_embd], of states, a list of float32 [n_tokens, n_embd].

    Without pooling it returns the states.

    Raises
    ------
    ParameterError
        If there is no such pooling.
    """
    if pooling is None:
        return list
    if not isinstance(pooling, str) or pooling not in _POOL:
        raise ParameterError(f"pooling={shown(pooling)}: must be 'auto', 'mean', 'cls', 'last' or None")
    pool = _POOL[pooling]

    def pooled(states: Sequence[F32]) -> F32:
        vectors = np.array([pool(hidden) for hidden in states], np.float32)
        if normalize and len(vectors):
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, length, out=vectors, where=length > 0)
        return vectors

    return pooled
