"""Rotary position embedding: inverse frequencies and scaling from a model's metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realizar.errors import GraphError, short_repr


@dataclass(frozen=True)
class RopeScaling:
    """Scaling of rotary positions beyond the context length of pre-training.

    Attributes
    ----------
    kind : str
        "none", "linear" (positions divided by `factor`), "yarn" (https://arxiv.org/abs/2309.00071) or "longrope"
        (factors from the file and `attn_factor` alone, https://arxiv.org/abs/2402.13753).
    factor : float
        Ratio of the new to the original context length.
    n_ctx_orig : int
        Original context length in tokens (yarn, longrope).
    attn_factor : float
        Additional factor for cos and sin.
    yarn_attn_factor : float | None
        YaRN's own factor for cos and sin; 1 + 0.1 ln(factor) by default.
    beta_fast, beta_slow : float
        Rotations over the original context above which a dimension is unchanged, below which it is interpolated.
    yarn_truncate : bool
        Whether the range of dimensions between the two is widened to whole ones, as llama.cpp always does; not in
        gpt-oss's checkpoints.
    dynamic_factor : float | None
        "dynamic" scaling (NTK): past the context of pre-training, the frequencies depend on the length of the text by
        this factor (`_compute_dynamic_ntk_parameters` in transformers). No longer context can be asked for, since keys
        in the cache have the frequencies with which they were computed.
    """

    kind: str = "none"
    factor: float = 1.0
    n_ctx_orig: int = 0
    attn_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    yarn_attn_factor: float | None = None
    yarn_truncate: bool = True
    dynamic_factor: float | None = None


def section_axes(sections: Sequence[int], *, interleaved: bool = False) -> tuple[int, ...]:
    """The position axis of each frequency in M-RoPE.

    Parameters
    ----------
    sections : sequence of int
        Number of frequencies of each axis, for example time, height and width.
    interleaved : bool
        False: one axis after another, as in Qwen2-VL (https://arxiv.org/abs/2409.12191, section 2.1). True: the axes
        alternate, and the first axis replaces those that have no frequencies left, as in Qwen3-VL
        (https://arxiv.org/abs/2511.21631, section 2).
    """
    if not interleaved:
        return tuple(axis for axis, n in enumerate(sections) for _ in range(n))
    k = len(sections)
    return tuple(i % k if i // k < sections[i % k] else 0 for i in range(sum(sections)))


def _yarn_dim(rotations: float, dims: int, base: float, n_ctx_orig: int) -> float:
    """Dimension whose pair rotates `rotations` times over the original context (YaRN paper, section 3.2)."""
    return dims * math.log(n_ctx_orig / (rotations * 2 * math.pi)) / (2 * math.log(base))


def _yarn_ramp(dims: int, base: float, scaling: RopeScaling) -> npt.NDArray[np.float64]:
    """Share of extrapolation per pair: 1 for fast dimensions, 0 for slow ones, linear in between."""
    low = _yarn_dim(scaling.beta_fast, dims, base, scaling.n_ctx_orig)
    high = _yarn_dim(scaling.beta_slow, dims, base, scaling.n_ctx_orig)
    if scaling.yarn_truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    ramp = (np.arange(dims // 2, dtype=np.float64) - low) / max(high - low, 0.001)
    return 1.0 - np.clip(ramp, 0.0, 1.0)


def factors_for(tables: tuple[str, ...], scaling: RopeScaling, n_ctx: int) -> str | None:
    """The factor table for sequences of up to n_ctx tokens: of two, the second if n_ctx is beyond `n_ctx_orig`."""
    if len(tables) == 2:
        return tables[n_ctx > scaling.n_ctx_orig]
    return tables[0] if tables else None


def rope_frequencies(
    dims: int, base: float, scaling: RopeScaling, factors: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.float32], float]:
    """Inverse frequencies and the factor on cos and sin.

    Parameters
    ----------
    dims : int
        Rotated dimensions of a head.
    base : float
        theta: pair i rotates by position / base^(2i/dims).
    scaling : RopeScaling
    factors : float32 [dims / 2 or more] | None
        Divisors of the frequencies from the file (`rope_freqs.weight`: Llama 3, longrope), of which the first are used.

    Returns
    -------
    inv_freq : float32 [dims / 2]
        Radians per position.
    mscale : float
        Multiplies cos and sin.

    Raises
    ------
    GraphError
        If the kind of scaling is unknown.
    """
    inv_freq = np.array([base ** (-2.0 * i / dims) for i in range(dims // 2)], dtype=np.float64)
    if factors is not None:
        inv_freq = inv_freq / factors[: dims // 2].astype(np.float64)
    mscale = scaling.attn_factor
    if scaling.kind == "linear":
        inv_freq = inv_freq / scaling.factor
    elif scaling.kind == "yarn":
        ramp = _yarn_ramp(dims, base, scaling)
        inv_freq = inv_freq / scaling.factor * (1.0 - ramp) + inv_freq * ramp
        own = scaling.yarn_attn_factor
        mscale *= 1.0 + 0.1 * math.log(max(scaling.factor, 1.0)) if own is None else own
    elif scaling.kind not in ("none", "longrope"):
        raise GraphError(
            f"rope scaling {short_repr(scaling.kind)} is unknown; known are none, linear, yarn and longrope"
        )
    return inv_freq.astype(np.float32), mscale
