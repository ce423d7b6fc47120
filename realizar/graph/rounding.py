"""The numpy definition of rounding: activations in products with quantized weights, keys and values in a cache."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from realizar.graph.hadamard import hadamard_sums

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


def quantize_activations(x: F32, block: int) -> F64:
    """Quantize x to int8 blocks as the kernels do, q = round(x * 127 / amax) and d = amax / 127, and return q * d.

    Parameters
    ----------
    x : float32[..., k]
    block : int
        Elements that share d; k is a multiple.

    Returns
    -------
    float64[..., k]
    """
    groups = x.astype(np.float32).reshape(-1, block)
    amax = np.abs(groups).max(axis=1, keepdims=True)
    tiny = amax < np.float32(2.0**-100)
    inverse = np.where(tiny, np.float32(0), np.float32(127) / np.where(tiny, np.float32(1), amax))
    q = np.rint(groups * inverse)
    d = np.where(tiny, np.float32(0), amax / np.float32(127))
    out: F64 = (q.astype(np.float64) * d).reshape(x.shape)
    return out


def round_q4(x: F32) -> F64:
    """Round x [..., n] to four bits as the q4 cache does, d = m / -8 and q = round(x / d) within [-8, 7]; return q * d.

    m is the element of the greatest magnitude of each n, the positive one of two.

    Parameters
    ----------
    x : float32[..., n]

    Returns
    -------
    float64[..., n]
    """
    most = np.abs(x).max(axis=-1, keepdims=True)
    tiny = most < np.float32(2.0**-100)
    most = np.where((x == most).any(axis=-1, keepdims=True), most, -most)
    inverse = np.where(tiny, np.float32(0), np.float32(-8) / np.where(tiny, np.float32(1), most))
    q = np.minimum(np.rint(x * inverse), 7)
    out: F64 = q.astype(np.float64) * np.where(tiny, np.float32(0), most / np.float32(-8))
    return out


def cached_k(k: F32, k_type: str) -> F64:
    """Return K after a round trip through a cache.

    Parameters
    ----------
    k : float32[n, n_head_kv, head_dim]
    k_type : {"f32", "f16", "int8", "q4"}
        int8 and q4 store the Hadamard transform of each head.

    Returns
    -------
    float64[n, n_head_kv, head_dim]
    """
    if k_type == "int8":
        return _transformed(quantize_activations(_transformed(k).astype(np.float32), k.shape[-1])) / _width(k)
    return _cached_q4(k) if k_type == "q4" else _cached_float(k, k_type)


def cached_v(v: F32, v_type: str) -> F64:
    """Return V after a round trip through a cache.

    Parameters
    ----------
    v : float32[n, n_head_kv, head_dim]
    v_type : {"f32", "f16", "int8", "q4"}
        q4 stores the Hadamard transform of each head.

    Returns
    -------
    float64[n, n_head_kv, head_dim]
    """
    if v_type == "int8":
        return quantize_activations(v, v.shape[-1])
    return _cached_q4(v) if v_type == "q4" else _cached_float(v, v_type)


def own_query(q: F32, k_type: str) -> F64:
    """Return queries as they are multiplied with keys of a cache.

    Parameters
    ----------
    q : float32[n, n_head, head_dim]
    k_type : {"f32", "f16", "int8", "q4"}
        For q4 the Hadamard transform of each head is rounded to int8.

    Returns
    -------
    float64[n, n_head, head_dim]
    """
    if k_type != "q4":
        return q.astype(np.float64)
    return _transformed(quantize_activations((_transformed(q) / _width(q)).astype(np.float32), q.shape[-1]))


def _cached_float(x: F32, kv_type: str) -> F64:
    return x.astype(np.float16 if kv_type == "f16" else np.float32).astype(np.float64)


def _cached_q4(x: F32) -> F64:
    return _transformed(round_q4(_transformed(x).astype(np.float32))) / _width(x)


def _width(x: npt.NDArray[np.floating]) -> int:
    """The elements that are transformed together: the largest power of two that divides head_dim."""
    return int(x.shape[-1] & -x.shape[-1])


def _transformed(x: npt.NDArray[np.floating]) -> F64:
    """Return the Hadamard transform of each head."""
    return hadamard_sums(x, _width(x))
