"""The numpy definition of activation functions, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: npt.NDArray[Any]) -> F64:
    """1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-x.astype(np.float64))))


def silu(x: npt.NDArray[Any]) -> F64:
    """x / (1 + exp(-x))."""
    return x * sigmoid(x)


def gelu(x: npt.NDArray[Any]) -> F64:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    wide = x.astype(np.float64)
    return np.asarray(wide / 2 * (1.0 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))))


def gelu_erf(x: npt.NDArray[Any]) -> F64:
    """x / 2 * (1 + erf(x / sqrt(2)))."""
    wide = x.astype(np.float64)
    return np.asarray(wide / 2 * (1.0 + _erf(wide / np.sqrt(2))))


def softcap(x: npt.NDArray[Any], cap: float) -> F64:
    """cap * tanh(x / cap)."""
    return np.asarray(cap * np.tanh(x.astype(np.float64) / cap))


def swiglu(gate: npt.NDArray[Any], up: npt.NDArray[Any]) -> F64:
    """silu(gate) * up."""
    return np.asarray(silu(gate) * up)


def swiglu_oai(gate: npt.NDArray[Any], up: npt.NDArray[Any]) -> F64:
    """gpt-oss's gated activation (https://arxiv.org/abs/2508.10925): clamped, with a steeper sigmoid and up + 1."""
    gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
    return np.asarray(gate * sigmoid(1.702 * gate.astype(np.float64)) * (up + 1.0))


def relu2(up: npt.NDArray[Any]) -> F64:
    """max(up, 0)^2."""
    return np.maximum(up.astype(np.float64), 0.0) ** 2


GATED: dict[str, Callable[[npt.NDArray[Any], npt.NDArray[Any]], F64]] = {"silu": swiglu, "swiglu_oai": swiglu_oai}
"""`activation` of the op `experts` -> function of gate and up."""
UNGATED: dict[str, Callable[[npt.NDArray[Any]], F64]] = {"relu2": relu2}
"""The same for experts without a gate: function of up."""
OF_EXPERTS: dict[str, Callable[..., F64]] = {**GATED, **UNGATED}
