"""FORMATS, the table of quantization formats; dequantize and quantize rows in any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realizar.errors import ParameterError
from realizar.quants import blocks32, floats, iquants, iquants_encode, kquants, mxfp4, nvfp4, ternary

# Rows are processed in chunks of this many elements, so that temporaries stay in the CPU cache.
CHUNK_ELEMENTS = 1 << 16


@dataclass(frozen=True)
class BlockFormat:
    """A quantization format: `n_elements` consecutive elements of a row form a quantization block of `n_bytes`.

    Attributes
    ----------
    name : str
        ggml's name, for example "Q4_K".
    type_id : int
        ggml's type number, as stored in GGUF files.
    n_elements, n_bytes : int
        Elements and bytes of one quantization block.
    dequantize : callable
        uint8[n, n_bytes] -> float32[n, n_elements].
    quantize : callable
        float32[n, n_elements] -> uint8[n, n_bytes]; finite values only.
    """

    name: str
    type_id: int
    n_elements: int
    n_bytes: int
    dequantize: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    quantize: Callable[[NDArray[np.float32]], NDArray[np.uint8]]

    @property
    def act_block(self) -> int:
        """Elements of an activation row that share a scale in products with this format; 1: they are not rounded."""
        return self.n_elements if self.n_elements in (1, 256) else 32


_ROWS = (
    BlockFormat("F32", 0, 1, 4, floats.dequantize_f32, floats.quantize_f32),
    BlockFormat("F16", 1, 1, 2, floats.dequantize_f16, floats.quantize_f16),
    BlockFormat("BF16", 30, 1, 2, floats.dequantize_bf16, floats.quantize_bf16),
    BlockFormat("Q4_0", 2, 32, 18, blocks32.dequantize_q4_0, blocks32.quantize_q4_0),
    BlockFormat("Q4_1", 3, 32, 20, blocks32.dequantize_q4_1, blocks32.quantize_q4_1),
    BlockFormat("Q5_0", 6, 32, 22, blocks32.dequantize_q5_0, blocks32.quantize_q5_0),
    BlockFormat("Q5_1", 7, 32, 24, blocks32.dequantize_q5_1, blocks32.quantize_q5_1),
    BlockFormat("Q8_0", 8, 32, 34, blocks32.dequantize_q8_0, blocks32.quantize_q8_0),
    BlockFormat("Q2_K", 10, 256, 84, kquants.dequantize_q2_k, kquants.quantize_q2_k),
    BlockFormat("Q3_K", 11, 256, 110, kquants.dequantize_q3_k, kquants.quantize_q3_k),
    BlockFormat("Q4_K", 12, 256, 144, kquants.dequantize_q4_k, kquants.quantize_q4_k),
    BlockFormat("Q5_K", 13, 256, 176, kquants.dequantize_q5_k, kquants.quantize_q5_k),
    BlockFormat("MXFP4", 39, 32, 17, mxfp4.dequantize_mxfp4, mxfp4.quantize_mxfp4),
    BlockFormat("Q6_K", 14, 256, 210, kquants.dequantize_q6_k, kquants.quantize_q6_k),
    BlockFormat("IQ4_NL", 20, 32, 18, iquants.dequantize_iq4_nl, iquants_encode.quantize_iq4_nl),
    BlockFormat("IQ4_XS", 23, 256, 136, iquants.dequantize_iq4_xs, iquants_encode.quantize_iq4_xs),
    BlockFormat("IQ3_XXS", 18, 256, 98, iquants.dequantize_iq3_xxs, iquants_encode.quantize_iq3_xxs),
    BlockFormat("IQ3_S", 21, 256, 110, iquants.dequantize_iq3_s, iquants_encode.quantize_iq3_s),
    BlockFormat("IQ2_XXS", 16, 256, 66, iquants.dequantize_iq2_xxs, iquants_encode.quantize_iq2_xxs),
    BlockFormat("IQ2_XS", 17, 256, 74, iquants.dequantize_iq2_xs, iquants_encode.quantize_iq2_xs),
    BlockFormat("IQ2_S", 22, 256, 82, iquants.dequantize_iq2_s, iquants_encode.quantize_iq2_s),
    BlockFormat("IQ1_S", 19, 256, 50, iquants.dequantize_iq1_s, iquants_encode.quantize_iq1_s),
    BlockFormat("IQ1_M", 29, 256, 56, iquants.dequantize_iq1_m, iquants_encode.quantize_iq1_m),
    BlockFormat("Q1_0", 41, 128, 18, ternary.dequantize_q1_0, ternary.quantize_q1_0),
    BlockFormat("Q2_0", 42, 64, 18, ternary.dequantize_q2_0, ternary.quantize_q2_0),
    BlockFormat("PQ2_0", 142, 128, 34, ternary.dequantize_pq2_0, ternary.quantize_pq2_0),
    BlockFormat("PTQ1_0", 143, 128, 28, ternary.dequantize_ptq1_0, ternary.quantize_ptq1_0),
    BlockFormat("TQ1_0", 34, 256, 54, ternary.dequantize_tq1_0, ternary.quantize_tq1_0),
    BlockFormat("TQ2_0", 35, 256, 66, ternary.dequantize_tq2_0, ternary.quantize_tq2_0),
    BlockFormat("NVFP4", 40, 64, 36, nvfp4.dequantize_nvfp4, nvfp4.quantize_nvfp4),
)

FORMATS: dict[str, BlockFormat] = {row.name: row for row in _ROWS}


def dequantize(data: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """Dequantize rows to float32, bit for bit as ggml defines the format.

    Parameters
    ----------
    data : uint8[..., row_bytes]
        Rows as stored in a file.
    name : str
        Key of `FORMATS`.

    Returns
    -------
    float32[..., k]
        k = row_bytes / n_bytes * n_elements; a new array.

    Raises
    ------
    ParameterError
        If the format is unknown or `row_bytes` is not a multiple of the quantization block's size.
    """
    fmt = _format(name)
    data = np.asarray(data)
    if data.dtype != np.uint8:
        raise ParameterError(f"dequantize {name}: the data has type {data.dtype}, but must be uint8")
    n_blocks = _blocks_per_row(data, fmt.n_bytes, f"dequantize {name}", "bytes")
    blocks = np.ascontiguousarray(data).reshape(-1, fmt.n_bytes)
    out = np.empty((len(blocks), fmt.n_elements), np.float32)
    _in_chunks(fmt.dequantize, blocks, out, fmt)
    return out.reshape(*data.shape[:-1], n_blocks * fmt.n_elements)


def quantize(x: NDArray[np.floating[Any]], name: str) -> NDArray[np.uint8]:
    """Quantize rows.

    All formats but the k-quants and IQ formats round exactly as ggml's reference. K-quants find scales and minima by
    least squares on a grid (`scale_search`); their error is about that of ggml, but the bytes differ. IQ formats take
    the nearest codewords; ggml's quantizers have smaller errors.

    Parameters
    ----------
    x : float32[..., k]
        Finite values; k must be a multiple of `n_elements`.
    name : str
        Key of `FORMATS`.

    Returns
    -------
    uint8[..., row_bytes]

    Raises
    ------
    ParameterError
        If the format is unknown, k is not a multiple of `n_elements`, or (in a quantized format) a value is not finite
        or too large for a float16 scale.
    """
    fmt = _format(name)
    x = np.asarray(x, np.float32)
    n_blocks = _blocks_per_row(x, fmt.n_elements, f"quantize {name}", "elements")
    if fmt.n_elements > 1 and not np.isfinite(x).all():
        raise ParameterError(f"quantize {name}: a value is infinite or NaN, which the format cannot represent")
    blocks = np.ascontiguousarray(x).reshape(-1, fmt.n_elements)
    out = np.empty((len(blocks), fmt.n_bytes), np.uint8)
    _in_chunks(fmt.quantize, blocks, out, fmt)
    return out.reshape(*x.shape[:-1], n_blocks * fmt.n_bytes)


def _format(name: str) -> BlockFormat:
    fmt = FORMATS.get(name)
    if fmt is None:
        raise ParameterError(f"format {name!r} is not supported; supported are {', '.join(FORMATS)}")
    return fmt


def _blocks_per_row(rows: NDArray[Any], per_block: int, what: str, unit: str) -> int:
    if rows.ndim == 0 or rows.shape[-1] % per_block:
        raise ParameterError(f"{what}: shape {rows.shape}, but a row must be a multiple of {per_block} {unit}")
    return int(rows.shape[-1] // per_block)


def _in_chunks(
    function: Callable[[NDArray[Any]], NDArray[Any]],
    blocks: NDArray[Any],
    out: NDArray[Any],
    fmt: BlockFormat,
) -> None:
    step = CHUNK_ELEMENTS // fmt.n_elements
    with np.errstate(all="ignore"):  # NaN and infinite scales are valid data
        for start in range(0, len(blocks), step):
            out[start : start + step] = function(blocks[start : start + step])
