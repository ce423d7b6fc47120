"""The numpy definition of expert routing: chosen experts and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from realizar.graph.activations import sigmoid

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SMALLEST_SUM = 2.0**-14
"""Lower bound of the sum by which weights are normalized, as in llama.cpp (build_moe_ffn)."""


def choose(logits: F32, attrs: Mapping[str, Any], bias: F32 | None) -> F32:
    """Ids of the chosen experts, best first, ties to the lower id: [n, n_used].

    Group-limited routing as in DeepSeek-V3 (https://arxiv.org/abs/2412.19437) and, with `n_group_best` 1, V2.
    """
    scores = _gating(logits, attrs["gating"])
    if bias is not None:
        scores = scores + bias
    n, n_group = len(scores), attrs["n_group"]
    if n_group > 1:
        groups = scores.reshape(n, n_group, -1)
        best = np.sort(groups, axis=2)[:, :, -attrs["n_group_best"] :].sum(axis=2)
        out = _descending(best)[:, attrs["n_group_used"] :]
        np.put_along_axis(groups, out[:, :, None], -np.inf, axis=1)
        scores = groups.reshape(n, -1)
    return _descending(scores)[:, : attrs["n_used"]].astype(np.float32)


def weigh(logits: F32, ids: F32, attrs: Mapping[str, Any], expert_scale: F32 | None = None) -> F64:
    """The weights of the chosen experts: [n, n_used]."""
    of_chosen = attrs["gating"] == "softmax_chosen"
    scores, chosen = _gating(logits, attrs["gating"]), ids.astype(np.intp)
    weights: F64 = np.take_along_axis(scores, chosen, axis=1)
    if of_chosen:
        weights = _gating(weights, "softmax")
    if attrs["normalize"]:
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), SMALLEST_SUM)
    weights = weights * attrs["scale"]
    return weights if expert_scale is None else weights * expert_scale[chosen]


def _gating(logits: npt.NDArray[Any], gating: str) -> F64:
    wide = logits.astype(np.float64)
    if gating == "sigmoid":
        return sigmoid(wide)
    if gating == "softmax":
        p = np.exp(wide - wide.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))
    return wide


def _descending(scores: F64) -> npt.NDArray[np.intp]:
    return np.argsort(-scores, axis=1, kind="stable")
