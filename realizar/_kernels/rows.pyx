"""The product kernels on numpy arrays, for tests, tools and loading. Models run them through a plan."""

import numpy as np

from libc.stddef cimport size_t

from realizar._kernels.table cimport kernels

cdef extern from *:
    """
    #include "realizar/table.h"

    typedef struct {
        const char *name;
        int type_id, n_elements, n_bytes, act_block;
    } format_row;

    #define FORMAT_ROW(NAME, lower, id, elements, bytes, act) {#NAME, id, elements, bytes, act},
    static const format_row format_rows[RZ_N_FORMATS] = {RZ_FORMATS(FORMAT_ROW)};
    """
    ctypedef struct format_row:
        const char *name
        int type_id, n_elements, n_bytes, act_block
    const format_row format_rows[]
    enum:
        RZ_N_FORMATS

cdef extern from "realizar/table.h" nogil:
    ctypedef void rz_matmul_fn(const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x,
                               size_t x_stride, size_t n, float *y, size_t ldy, void *scratch)
    ctypedef void rz_dequantize_fn(const void *w, size_t k, float *y)
    ctypedef void rz_quantize_act_fn(const float *x, size_t k, void *q_row)
    ctypedef void rz_residual_act_fn(const float *x, size_t k, int block, const void *q_row, float *y)
    struct rz_format_kernels:
        rz_dequantize_fn *dequantize
        rz_matmul_fn *gemv
        rz_matmul_fn *gemm
        rz_matmul_fn *matmul_f32
    struct product_kernels "rz_kernels":
        rz_format_kernels *format
        rz_quantize_act_fn *quantize_act_32
        rz_quantize_act_fn *quantize_act_256
        rz_residual_act_fn *residual_act
    size_t rz_act_bytes(size_t k, int block)
    size_t rz_act_d_offset(size_t k)
    size_t rz_act_s_offset(size_t k, int block)
    size_t rz_act_group(int block)
    size_t rz_gemm_scratch(size_t k)

# Block length of the int8 activations of each format; 0: a float format, whose activations stay floats.
ACT_BLOCK = {format_rows[i].name.decode(): format_rows[i].act_block for i in range(RZ_N_FORMATS)}

_INDEX = {format_rows[i].name.decode(): i for i in range(RZ_N_FORMATS)}


def row_bytes(str format not None, size_t k):
    """Return the bytes of a row of k elements of a format; ValueError if that is not a whole number of blocks."""
    cdef int f = _format(format)
    if k == 0 or k % format_rows[f].n_elements:
        raise ValueError(f"a {format} row holds a positive multiple of {format_rows[f].n_elements} elements, not k={k}")
    return k // format_rows[f].n_elements * format_rows[f].n_bytes


cdef const product_kernels *_table(str isa) except NULL:
    return <const product_kernels *> kernels(isa)


cdef int _format(str name) except -1:
    if name not in _INDEX:
        raise ValueError(f"no kernels for format {name!r}; there are: {', '.join(_INDEX)}")
    return _INDEX[name]


cdef _aligned(shape):
    """Returns a new uint8 array that is aligned to 64 bytes."""
    n = int(np.prod(shape))
    buffer = np.zeros(n + 63, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start:start + n].reshape(shape)


cdef _float_rows(x):
    x = np.asarray(x)
    if x.dtype != np.float32 or x.ndim != 2:
        raise ValueError(f"x must be float32 of shape (n, k), not {x.dtype} of shape {x.shape}")
    return np.ascontiguousarray(x)


cdef _weight_rows(str name, data, size_t k):
    """Checks that data has rows of k elements of the format."""
    data = np.asarray(data)
    if data.dtype != np.uint8 or data.ndim != 2:
        raise ValueError(f"data must be uint8 of shape (n_rows, row_bytes), not {data.dtype} of shape {data.shape}")
    n_bytes = row_bytes(name, k)
    if data.shape[1] != n_bytes:
        raise ValueError(f"{k} elements of {name} take {n_bytes} bytes a row, data has {data.shape[1]}")
    return np.ascontiguousarray(data)


cdef _quantized_rows(const float[:, ::1] x, int block, str isa):
    """Quantized rows (layout in table.h) of the float rows x."""
    cdef const product_kernels *table = _table(isa)
    cdef size_t n = x.shape[0], k = x.shape[1], t
    if block not in (32, 256):
        raise ValueError(f"activation blocks have 32 or 256 elements, not {block}")
    if k == 0 or k % block:
        raise ValueError(f"activations in blocks of {block} need a positive multiple of it as k, not {k}")
    q_rows = _aligned((n, rz_act_bytes(k, block)))
    cdef unsigned char[:, ::1] out = q_rows
    with nogil:
        for t in range(n):
            if block == 32:
                table.quantize_act_32(&x[t, 0], k, &out[t, 0])
            else:
                table.quantize_act_256(&x[t, 0], k, &out[t, 0])
    return q_rows


def quantize_act(x, int block, str isa=None):
    """Quantize rows to the int8 activations that quantized weights are multiplied with.

    Parameters
    ----------
    x : float32[n, k]
    block : int
        Elements that share a scale, 32 or 256; k is a multiple of it.
    isa : str, optional
        ISA level of the kernels; the current one by default.

    Returns
    -------
    q : int8[n, k]
        round-to-even(x * 127 / amax), in [-127, 127]
    d : float32[n, k / block]
        amax / 127; NaN for a block with an Inf or NaN
    s : int16[n, k / group]
        Sums of q over groups of 32 (block 32) or 16 (block 256).

    Raises
    ------
    ValueError
        For another block, dtype or shape.
    """
    x = _float_rows(x)
    k = x.shape[1]
    q_rows = _quantized_rows(x, block, isa)
    d_at, s_at = rz_act_d_offset(k), rz_act_s_offset(k, block)
    end = s_at + k // rz_act_group(block) * 2
    return (
        q_rows[:, :k].copy().view(np.int8),
        q_rows[:, d_at:s_at].copy().view(np.float32),
        q_rows[:, s_at:end].copy().view(np.int16),
    )


def residual_act(x, int block, str isa=None):
    """Return the rounding error of int8 activations; int16 activations quantize this, too.

    Parameters
    ----------
    x : float32[n, k]
    block : int
        Elements that share a scale, 32 or 256; k is a multiple of it.
    isa : str, optional
        ISA level of the kernels; the current one by default.

    Returns
    -------
    float32[n, k]
        x - d * q, with q and d of `quantize_act`.

    Raises
    ------
    ValueError
        See `quantize_act`.
    """
    x = _float_rows(x)
    cdef const float[:, ::1] given = x
    cdef const unsigned char[:, ::1] q_rows = _quantized_rows(given, block, isa)
    cdef const product_kernels *table = _table(isa)
    cdef size_t n = given.shape[0], k = given.shape[1], t
    out = np.empty((n, k), np.float32)
    cdef float[:, ::1] y = out
    with nogil:
        for t in range(n):
            table.residual_act(&given[t, 0], k, block, &q_rows[t, 0], &y[t, 0])
    return out


def dequantize(str format not None, data, size_t k, str isa=None):
    """Expand rows of blocks to floats.

    Parameters
    ----------
    format : str
        A key of `ACT_BLOCK`.
    data : uint8[n, row_bytes]
    k : int
        Elements of a row.
    isa : str, optional
        ISA level of the kernels; the current one by default.

    Returns
    -------
    float32[n, k]

    Raises
    ------
    ValueError
        For an unknown format, or data that is not rows of k elements of it.
    """
    cdef const unsigned char[:, ::1] w = _weight_rows(format, data, k)
    cdef rz_dequantize_fn *expand = _table(isa).format[_format(format)].dequantize
    cdef size_t n = w.shape[0], r
    out = np.empty((n, k), np.float32)
    cdef float[:, ::1] y = out
    with nogil:
        for r in range(n):
            expand(&w[r, 0], k, &y[r, 0])
    return out


cdef rz_matmul_fn *_product(str format, str activations, str shape, str isa) except NULL:
    """Returns the kernel of a product by its names."""
    cdef const rz_format_kernels *kernel = &_table(isa).format[_format(format)]
    if activations not in ("int8", "f32"):
        raise ValueError(f"activations must be 'int8' or 'f32', not {activations!r}")
    if shape not in ("gemv", "gemm"):
        raise ValueError(f"shape must be 'gemv' or 'gemm', not {shape!r}")
    if activations == "f32":
        return kernel.matmul_f32
    return kernel.gemv if shape == "gemv" else kernel.gemm


def matmul(str format not None, data, x, str activations="int8", str shape="gemv", str isa=None):
    """Multiply float rows by the transpose of a weight matrix: y[t, r] = dot(weight row r, x row t).

    Parameters
    ----------
    format : str
        A key of `ACT_BLOCK`.
    data : uint8[n_out, row_bytes]
        The blocks of the weight rows.
    x : float32[n, k]
    activations : {"int8", "f32"}
        Whether x is quantized first; float formats multiply floats in either case.
    shape : {"gemv", "gemm"}
        The kernel made for few rows of x or the one for many; both give the same bits. With f32 activations there is
        one kernel.
    isa : str, optional
        ISA level of the kernels; the current one by default.

    Returns
    -------
    float32[n, n_out]

    Raises
    ------
    ValueError
        For an unknown name, or dtypes and shapes that do not fit together.
    """
    cdef rz_matmul_fn *product = _product(format, activations, shape, isa)
    x = _float_rows(x)
    cdef size_t k = x.shape[1]
    cdef const unsigned char[:, ::1] w = _weight_rows(format, data, k)
    cdef int block = ACT_BLOCK[format] if activations == "int8" else 0
    q_rows = _quantized_rows(x, block, isa) if block else x.view(np.uint8)
    cdef const unsigned char[:, ::1] rows = q_rows
    cdef size_t n = rows.shape[0], n_out = w.shape[0]
    cdef unsigned char[::1] scratch = _aligned((rz_gemm_scratch(k),))
    out = np.empty((n, n_out), np.float32)
    cdef float[:, ::1] y = out
    if n and n_out:
        with nogil:
            product(&w[0, 0], w.shape[1], k, 0, n_out, &rows[0, 0], rows.shape[1], n, &y[0, 0], n_out, &scratch[0])
    return out
